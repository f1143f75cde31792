"""The part of the service's settings that template and workers need, read from the master's JSON."""

from __future__ import annotations

import json
from typing import Any, Dict, List, NamedTuple, Tuple

from ..retry import RetrySettings


class Database(NamedTuple):
    """A database whose jobs the workers run."""

    name: str
    dsn: str  # may hold a password: never log it
    id: int  # its number in grants


class ChannelSettings(NamedTuple):
    """The settings for the jobs and workers of one channel. Times are seconds, sizes bytes; 0 is no limit."""

    retry: RetrySettings
    timeout: float
    cpu: float
    memory_soft: int
    memory_hard: int
    max_jobs: int
    max_age: float
    nice: int


class WorkerSettings(NamedTuple):
    """Everything that a template and its workers are configured with. Durations are seconds."""

    databases: Tuple[Database, ...]
    app: Tuple[str, ...]
    channels: Dict[str, ChannelSettings]
    graceful_timeout: float
    unknown_model_grace: float
    logfile: str
    log_level: str
    log_format: str
    log_handlers: Tuple[str, ...]
    odoo: str  # path of odoo.conf; "": the jobs are not Odoo's
    odoo_path: str  # directory with Odoo's code, put on sys.path; "": Odoo can be imported without
    direct: bool  # False: every job of Odoo goes through the addon's own code


def read(fd: int) -> WorkerSettings:
    """Read the settings from the file descriptor that the process inherited from the master."""
    with open(f"/proc/self/fd/{fd}", encoding="utf-8") as stream:
        return parse(json.load(stream))


def parse(data: Dict[str, Any]) -> WorkerSettings:
    """The settings in the master's parsed JSON; ``KeyError`` for a missing one."""
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
    """Each setting from the channel itself, else from the nearest channel above that has it, else the service's."""
    by_name = {channel["name"]: channel for channel in data["channels"]}
    lineage: List[Dict[str, Any]] = []  # the channel, then those above it
    while name:
        if name in by_name:
            lineage.append(by_name[name])
        name = name.rpartition(".")[0]

    def setting(key: str, default: Any) -> Any:
        return next((channel[key] for channel in lineage if channel.get(key)), default)

    return ChannelSettings(
        retry=RetrySettings(setting("on_error", data["on_error"]), data["retry_delay"], data["max_backoff"]),
        timeout=setting("timeout", data["timeout"]),
        cpu=setting("cpu", data["cpu"]),
        memory_soft=data["memory_soft"],
        memory_hard=setting("memory", data["memory"]),
        max_jobs=setting("max_jobs", data["max_jobs"]),
        max_age=data["max_age"],
        nice=setting("nice", 0),
    )
