"""Who may read: everybody where no login is configured, which the configuration allows on loopback only.

A request names either the user and the password (Basic) or the token (``Authorization: Bearer``), as configured.
"""

from __future__ import annotations

import hmac

from flask import Response
from werkzeug.datastructures import Authorization

from queuemaster.config.compiled import Settings


class Login:
    """The login of the settings."""

    def __init__(self, settings: Settings) -> None:
        self._user, self._password = settings.http_user, settings.http_password
        self._token = settings.http_token
        self.required = bool(self._token or self._password)

    def admits(self, authorization: Authorization | None) -> bool:
        """Whether this request may see everything. ``authorization``: its header, None without one."""
        if not self.required:
            return True
        if authorization is None:
            return False
        if authorization.type == "basic":
            # both are always compared: the time that it takes does not tell which one was wrong
            known = _same(authorization.username, self._user) & _same(authorization.password, self._password)
            return bool(self._password) and known
        return (
            authorization.type == "bearer" and bool(self._token) and _same(authorization.token, self._token)
        )


def refusal() -> Response:
    """What a request without a login is answered."""
    return Response("Unauthorized Access", 401, {"WWW-Authenticate": 'Basic realm="Queuemaster"'})


def _same(sent: str | None, expected: str) -> bool:
    """Compared in a time that does not depend on where they differ."""
    return hmac.compare_digest((sent or "").encode(), expected.encode())
