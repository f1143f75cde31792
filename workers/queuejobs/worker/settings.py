"""The part of the service's settings that template and workers need, read from the same JSON."""

from __future__ import annotations

import json
from typing import NamedTuple, Tuple

from ..retry import RetrySettings


class Database(NamedTuple):
    """A database to work on. The DSN may hold a password: never log it."""

    name: str
    dsn: str


class WorkerSettings(NamedTuple):
    """Durations are seconds."""

    databases: Tuple[Database, ...]
    app: Tuple[str, ...]
    retry: RetrySettings
    graceful_timeout: float
    unknown_model_grace: float
    logfile: str
    log_level: str
    log_format: str
    log_handlers: Tuple[str, ...]


def read(fd: int) -> WorkerSettings:
    """Read the settings from the descriptor that the master handed down."""
    with open(f"/proc/self/fd/{fd}", encoding="utf-8") as stream:
        data = json.load(stream)
    return WorkerSettings(
        databases=tuple(Database(**database) for database in data["databases"]),
        app=tuple(data["app"]),
        retry=RetrySettings(data["on_error"], data["retry_delay"], data["max_backoff"]),
        graceful_timeout=data["graceful_timeout"],
        unknown_model_grace=data["unknown_model_grace"],
        logfile=data["logfile"],
        log_level=data["log_level"],
        log_format=data["log_format"],
        log_handlers=tuple(data["log_handlers"]),
    )
