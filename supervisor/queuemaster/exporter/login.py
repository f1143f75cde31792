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

    def admits(self, header: str | None) -> bool:
        """Whether this request may see everything. ``header``: what it sent as Authorization."""
        if not self.required:
            return True
        scheme, _, rest = (header or "").partition(" ")
        if scheme.lower() == "bearer":
            return bool(self._token) and _same(rest.strip(), self._token)
        authorization = Authorization.from_header(header)
        if authorization is None or authorization.type != "basic":
            return False
        # both are always compared: the time that it takes does not tell which one was wrong
        known = _same(authorization.username, self._user) & _same(authorization.password, self._password)
        return bool(self._password) and known

    def refusal(self) -> Response:
        """What a request without the login is answered."""
        scheme = "Basic" if self._password else "Bearer"
        return Response("Unauthorized Access", 401, {"WWW-Authenticate": f'{scheme} realm="Queuemaster"'})


def _same(sent: str | None, expected: str) -> bool:
    """Whether both are equal, in a time that does not depend on where they differ."""
    return hmac.compare_digest((sent or "").encode(), expected.encode())
