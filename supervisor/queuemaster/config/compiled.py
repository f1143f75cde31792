"""The configuration as every process of the service sees it: plain, checked, immutable.

The command line compiles it (``config.sources``) and hands it down as JSON through a
descriptor; the processes that read it import nothing but the standard library.
Durations are seconds (float), sizes are bytes (int), 0 means "no limit" unless said otherwise.
"""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from queuemaster.channels.channel import ChannelConfig


@dataclass(frozen=True)
class DatabaseConfig:
    """A database to serve. ``dsn`` may hold a password: never log it, never show it."""

    name: str  # what logs and metrics call it
    dsn: str
    id: int = 0  # what the processes call it; the same for as long as the master lives


def keep_ids(new: tuple[DatabaseConfig, ...], old: tuple[DatabaseConfig, ...]) -> tuple[DatabaseConfig, ...]:
    """The new databases under the ids that they had; those that are really new get ids of their own."""
    known = {(database.name, database.dsn): database.id for database in old}
    fresh = itertools.count(max(known.values(), default=-1) + 1)
    return tuple(
        replace(database, id=known[key] if (key := (database.name, database.dsn)) in known else next(fresh))
        for database in new
    )


@dataclass(frozen=True)
class Discovery:
    """No database is named: those that this user owns on the server are served (``config.discovery``)."""

    dsn: str  # of the database where the server is asked; it may hold a password
    pattern: str = ""  # a regular expression that a name begins with; "": any
    template: str = ""  # what Odoo copies new databases from is none of them


@dataclass(frozen=True)
class ServerPlan:
    """How to start the embedded PostgreSQL: everything the master needs to exec it again."""

    argv: tuple[str, ...]
    data_dir: str
    socket_dir: str
    port: int
    uid: int
    gid: int
    pid: int = 0  # the server that already runs as a child of this process, 0: none


@dataclass(frozen=True)
class Settings:
    """Everything the service was told."""

    channels: tuple[ChannelConfig, ...]
    databases: tuple[DatabaseConfig, ...]
    pools: dict[str, int] = field(default_factory=dict)  # workers kept ready, by channel
    command: tuple[str, ...] = ()  # the arguments of the command line, to compile it all again
    app: tuple[str, ...] = ()  # modules that the template imports
    python: str = ""  # the application's interpreter; "": ours
    odoo: str = ""  # the path of odoo.conf: Odoo's databases, with its addon; "": native queues
    odoo_path: str = ""  # a directory with Odoo's code, for its interpreter; "": it has it already
    direct: bool = True  # jobs that allow it run without the addon's own bookkeeping
    shadow: bool = False  # decide, but leave the acting to the stock runner
    discovery: Discovery | None = None  # how databases are found, None: they are named
    server: ServerPlan | None = None  # the embedded PostgreSQL, None: databases by DSN only
    user: str = ""  # template, workers and dispatcher run as, when the master is root; "": as we do
    group: str = ""  # "": the user's
    pidfile: str = ""
    logfile: str = ""  # "": standard error
    log_level: str = "INFO"
    log_format: str = "text"  # or "json"
    log_handlers: tuple[str, ...] = ()  # "LOGGER:LEVEL"
    max_workers: int = 64
    graceful_timeout: float = 60.0
    kill_grace: float = 5.0
    heartbeat_timeout: float = 60.0
    on_error: str = "fail"  # or "retry"
    retry_delay: float = 600.0
    max_backoff: float = 3600.0
    unknown_model_grace: float = 60.0
    poll_interval: float = 30.0
    slice: float = 0.1  # of time, for a grant; 0: one job each
    timeout: float = 0.0  # of a job that says nothing itself
    limit_time_cpu: float = 0.0
    limit_memory_soft: int = 0
    limit_memory_hard: int = 0
    max_jobs: int = 0  # then the worker is replaced
    max_age: float = 0.0
    poison_after: int = 3  # deaths of workers in a row that fail their job
    http: str = "127.0.0.1:8079"  # where the exporter listens; "": there is none
    http_user: str = ""
    http_password: str = ""  # like DSNs: never log it, never show it
    http_token: str = ""  # likewise
    retention: float = 30 * 86400.0  # after it done and cancelled jobs are removed; 0: kept for ever
    failed_retention: float = 0.0  # the same of failed ones

    def to_json(self) -> str:
        """One JSON object, keys as the fields above."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """The inverse of :meth:`to_json`."""
        data: dict[str, Any] = json.loads(text)
        data["channels"] = tuple(ChannelConfig(**c) for c in data["channels"])
        data["databases"] = tuple(DatabaseConfig(**d) for d in data["databases"])
        if data["discovery"] is not None:
            data["discovery"] = Discovery(**data["discovery"])
        if data["server"] is not None:
            server = data["server"]
            data["server"] = ServerPlan(**{**server, "argv": tuple(server["argv"])})
        for name in ("command", "app", "log_handlers"):
            data[name] = tuple(data[name])
        return cls(**data)

    def to_descriptor(self) -> int:
        """An inheritable anonymous file that holds the JSON (it may contain passwords)."""
        fd = os.memfd_create("queuemaster-settings", 0)
        with os.fdopen(os.dup(fd), "w") as stream:
            stream.write(self.to_json())
        return fd

    @classmethod
    def from_descriptor(cls, fd: int) -> Settings:
        """Read what :meth:`to_descriptor` made; the descriptor stays open, for later readers."""
        with open(f"/proc/self/fd/{fd}") as stream:
            return cls.from_json(stream.read())
