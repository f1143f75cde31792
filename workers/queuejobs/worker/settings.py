"""The part of the service's settings that template and workers need, read from the same JSON."""

from __future__ import annotations

import json
from typing import Any, Dict, List, NamedTuple, Tuple

from ..retry import RetrySettings


class Database(NamedTuple):
    """A database to work on. The DSN may hold a password: never log it."""

    name: str
    dsn: str
    id: int  # what grants call it


class ChannelSettings(NamedTuple):
    """What holds for the jobs and the workers of one channel. Seconds, bytes; 0 is no limit."""

    retry: RetrySettings
    timeout: float
    cpu: float
    memory_soft: int
    memory_hard: int
    max_jobs: int
    max_age: float
    nice: int


class WorkerSettings(NamedTuple):
    """Durations are seconds."""

    databases: Tuple[Database, ...]
    app: Tuple[str, ...]
    channels: Dict[str, ChannelSettings]
    graceful_timeout: float
    unknown_model_grace: float
    logfile: str
    log_level: str
    log_format: str
    log_handlers: Tuple[str, ...]
    odoo: str  # the path of odoo.conf; "": native queues
    odoo_path: str  # a directory with Odoo's code, for sys.path; "": it can be imported without
    direct: bool  # False: every job of Odoo's goes through the addon's own code


def read(fd: int) -> WorkerSettings:
    """Read the settings from the descriptor that the master handed down."""
    with open(f"/proc/self/fd/{fd}", encoding="utf-8") as stream:
        return parse(json.load(stream))


def parse(data: Dict[str, Any]) -> WorkerSettings:
    """The settings out of the service's JSON."""
    return WorkerSettings(
        databases=tuple(Database(**database) for database in data["databases"]),
        app=tuple(data["app"]),
        channels={channel["name"]: _channel(channel["name"], data) for channel in data["channels"]},
        graceful_timeout=data["graceful_timeout"],
        unknown_model_grace=data["unknown_model_grace"],
        logfile=data["logfile"],
        log_level=data["log_level"],
        log_format=data["log_format"],
        log_handlers=tuple(data["log_handlers"]),
        odoo=data["odoo"],
        odoo_path=data["odoo_path"],
        direct=data["direct"],
    )


def _channel(name: str, data: Dict[str, Any]) -> ChannelSettings:
    """What the channel says, else the nearest channel above that says something, else the service."""
    by_name = {channel["name"]: channel for channel in data["channels"]}
    lineage: List[Dict[str, Any]] = []
    while name:
        if name in by_name:
            lineage.append(by_name[name])
        name = name.rpartition(".")[0]

    def said(key: str, default: Any) -> Any:
        return next((channel[key] for channel in lineage if channel.get(key)), default)

    return ChannelSettings(
        retry=RetrySettings(said("on_error", data["on_error"]), data["retry_delay"], data["max_backoff"]),
        timeout=said("timeout", data["timeout"]),
        cpu=said("cpu", data["cpu"]),
        memory_soft=data["memory_soft"],
        memory_hard=said("memory", data["memory"]),
        max_jobs=said("max_jobs", data["max_jobs"]),
        max_age=data["max_age"],
        nice=said("nice", 0),
    )
