"""Who may read: everybody where no login is configured, which the configuration allows on loopback only."""

from __future__ import annotations

import hmac

from flask_httpauth import HTTPBasicAuth, HTTPTokenAuth, MultiAuth

from queuemaster.config.compiled import Settings


def required(settings: Settings) -> bool:
    """Whether a login is configured."""
    return bool(settings.http_token or settings.http_password)


def login(settings: Settings) -> MultiAuth:
    """User and password (Basic), or token (``Authorization: Bearer``); as configured."""
    basic, bearer = HTTPBasicAuth(realm="Queuemaster"), HTTPTokenAuth("Bearer", realm="Queuemaster")

    def verify_password(user: str, password: str) -> str | None:
        # both are compared, whatever comes of the first: the time taken tells nothing
        known = same(user, settings.http_user) & same(password, settings.http_password)
        return user if settings.http_password and known else None

    def verify_token(token: str) -> str | None:
        return "token" if settings.http_token and same(token, settings.http_token) else None

    basic.verify_password(verify_password)
    bearer.verify_token(verify_token)
    return MultiAuth(basic, bearer)


def same(given: str, expected: str) -> bool:
    """In a time that does not depend on where they differ."""
    return hmac.compare_digest(given.encode(), expected.encode())
