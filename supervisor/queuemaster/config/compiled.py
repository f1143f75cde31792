"""The configuration as every process of the service sees it: plain, checked, immutable.

The command line compiles it (``config.sources``) and passes it on as JSON through a descriptor; the processes that read
it import nothing but the standard library.
Durations are seconds (float), sizes are bytes (int), 0 means "no limit" unless said otherwise.
"""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from queuemaster.channels.channel import ChannelConfig

MEMORY = "queuemaster-settings"  # the name of the anonymous file, by which it is found among a master's descriptors


@dataclass(frozen=True)
class DatabaseConfig:
    """A database to serve. ``dsn`` may hold a password: never log it, never show it."""

    name: str  # what logs and metrics call it
    dsn: str
    id: int = 0  # the number that the processes use; it stays the same for as long as the master lives


def keep_ids(new: tuple[DatabaseConfig, ...], old: tuple[DatabaseConfig, ...]) -> tuple[DatabaseConfig, ...]:
    """The new databases; one that is also among the old ones keeps its id, any other gets an unused one."""
    known = {(database.name, database.dsn): database.id for database in old}
    fresh = itertools.count(max(known.values(), default=-1) + 1)
    return tuple(
        replace(database, id=known[key] if (key := (database.name, database.dsn)) in known else next(fresh))
        for database in new
    )


@dataclass(frozen=True)
class Discovery:
    """How to find the databases when none is named: all that this user owns on the server (``config.discovery``)."""

    dsn: str  # of the database where the server is asked; it may hold a password
    pattern: str = ""  # a regular expression that a name begins with; "": any
    template: str = ""  # Odoo's template for new databases, which is not served


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
    """The configuration of the service."""

    channels: tuple[ChannelConfig, ...]
    databases: tuple[DatabaseConfig, ...]
    pools: dict[str, int] = field(default_factory=dict)  # workers kept ready, by channel
    command: tuple[str, ...] = ()  # arguments of the command line: a reload compiles them again
    app: tuple[str, ...] = ()  # modules that the template imports
    python: str = ""  # the application's interpreter; "": ours
    odoo: str = ""  # the path of odoo.conf: Odoo's databases, with its addon; "": native queues
    odoo_path: str = ""  # a directory with Odoo's code; "": the interpreter can import it without
    direct: bool = True  # jobs that allow it run without the addon's own bookkeeping
    shadow: bool = False  # only decide, and compare with what the stock runner does
    discovery: Discovery | None = None  # how databases are found, None: they are named
    server: ServerPlan | None = None  # the embedded PostgreSQL, None: databases by DSN only
    user: str = ""  # that all processes but the master run as, when the master is root; "": the master's
    group: str = ""  # "": the user's
    pidfile: str = ""
    logfile: str = ""  # "": standard error
    log_level: str = "INFO"
    log_format: str = "text"  # or "json"
    log_handlers: tuple[str, ...] = ()  # "LOGGER:LEVEL"
    max_workers: int = 64  # at most, in all pools together
    graceful_timeout: float = 60.0
    kill_grace: float = 5.0  # from the request to stop a run to SIGABRT
    heartbeat_timeout: float = 60.0
    on_error: str = "fail"  # or "retry"
    retry_delay: float = 600.0
    max_backoff: float = 3600.0
    unknown_model_grace: float = 60.0
    poll_interval: float = 30.0
    slice: float = 0.1  # how long a grant lasts; 0: one job
    timeout: float = 0.0  # of a job that has none of its own
    cpu: float = 0.0  # processor time of a job
    memory_soft: int = 0  # a worker that is larger is replaced after its job
    memory: int = 0  # the job of a worker that is larger is stopped
    max_jobs: int = 0  # a worker is replaced after so many jobs
    max_age: float = 0.0  # or after this time
    poison_after: int = 3  # deaths of workers in a row that fail their job
    http: str = "127.0.0.1:8079"  # where the exporter listens; "": there is none
    http_user: str = ""
    http_password: str = ""  # like DSNs: never log it, never show it
    http_token: str = ""  # likewise
    retention: float = 30 * 86400.0  # done and cancelled jobs are removed after it; 0: kept for ever
    failed_retention: float = 0.0  # the same for failed jobs

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
        fd = os.memfd_create(MEMORY, 0)
        with os.fdopen(os.dup(fd), "w") as stream:
            stream.write(self.to_json())
        return fd

    @classmethod
    def from_descriptor(cls, fd: int) -> Settings:
        """Read what :meth:`to_descriptor` made; the descriptor stays open, for later readers."""
        with open(f"/proc/self/fd/{fd}") as stream:
            return cls.from_json(stream.read())
