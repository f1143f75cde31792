"""The options: names, defaults, what each accepts. A model that pydantic checks, all errors at once."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, InstanceOf

from queuejobs.shared.amounts import DURATION_EXPECTED, is_off, read_duration, read_size
from queuemaster.channels import Parsed, Tree, parse_channels
from queuemaster.config.compiled import DatabaseConfig, Settings, keep_ids
from queuemaster.config.dsn import parse_databases
from queuemaster.config.http_address import is_loopback, parse_address

# Odoo's names of limits → ours. They are read wherever an option can be given, with the same meaning.
ALIASES = {
    "limit_time_cpu": "cpu",
    "limit_memory_soft": "memory_soft",
    "limit_memory_hard": "memory",
}

# Options of OCA's runner that stand in many odoo.conf, and the warning about each.
OF_OCA = {
    **dict.fromkeys(
        ("scheme", "host", "port", "http_auth_user", "http_auth_password"),
        "has no use here, ignored: jobs run in worker processes, not through HTTP requests",
    ),
    "max_capacity": "counts beside Odoo only, where channels is not given, ignored",
    "db_max_capacity": "is not supported, ignored: channels are for all databases together",
    "jobrunner_db_name": "is no option of the addon either, ignored: name databases with database",
    **{
        f"jobrunner_db_{part}": "counts beside Odoo only (a file with [options], and no app), ignored: give the"
        " connection with database"
        for part in ("host", "port", "user", "password")
    },
}

TRUE_WORDS = frozenset(("yes", "true", "on", "1"))
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
MOST_WORKERS = 4096  # as many as the scoreboard has entries


def _positive_seconds(text: str) -> float:
    value = read_duration(text)
    if value <= 0:
        raise ValueError(f"{DURATION_EXPECTED}, more than 0")
    return value


def _yes_no(text: str) -> bool:
    word = text.strip().lower()
    if word in TRUE_WORDS or (word and is_off(word)):
        return word in TRUE_WORDS
    raise ValueError("expected yes or no")


def _number(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise ValueError(f"expected a whole number from {least} to {most}")
        return value

    return parse


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        for word in words:
            if text.strip().lower() == word.lower():
                return word
        raise ValueError(f"expected one of {', '.join(words)}")

    return parse


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[\s,]+", text) if word]


def _modules(text: str) -> tuple[str, ...]:
    modules = _words(text)
    for module in modules:
        if not all(part.isidentifier() for part in module.split(".")):
            raise ValueError(f"{module!r} is not a module's name; expected for instance sales.jobs")
    return tuple(modules)


def _log_handlers(text: str) -> tuple[str, ...]:
    handlers = []
    for word in _words(text):
        logger, colon, level = word.rpartition(":")
        if not colon or not isinstance(logging.getLevelName(level.upper()), int):
            raise ValueError(f"{word!r}: expected LOGGER:LEVEL, the level one of {', '.join(LEVELS)}")
        handlers.append(f"{logger}:{level.upper()}")
    return tuple(handlers)


def _http(text: str) -> str:
    if text.strip():
        parse_address(text)
    return text.strip()


def _path(text: str) -> str:
    """An absolute path: the processes that read it later may run in another directory."""
    return os.path.abspath(os.path.expanduser(text.strip())) if text.strip() else ""


def _program(text: str) -> str:
    """A path like the others; a name without a slash is looked up on PATH when it is started."""
    return _path(text) if os.sep in text or text.startswith("~") else text.strip()


Duration = Annotated[float, BeforeValidator(read_duration)]
Size = Annotated[int, BeforeValidator(read_size)]


class Options(BaseModel):
    """Every option that this version supports. The values arrive as text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels: Annotated[InstanceOf[Parsed], BeforeValidator(parse_channels)] = Field(
        parse_channels("root:1"), description="the tree of channels and their capacities"
    )
    database: Annotated[tuple[InstanceOf[DatabaseConfig], ...], BeforeValidator(parse_databases)] = Field(
        (), description="databases to serve: DSNs or names, by comma; none: the embedded PostgreSQL"
    )
    app: Annotated[tuple[str, ...], BeforeValidator(_modules)] = Field(
        Settings.app, description="modules that register the application's models, by comma"
    )
    python: Annotated[str, BeforeValidator(_program)] = Field(
        Settings.python,
        description="the application's interpreter; empty: Odoo's beside Odoo, else this command's",
    )
    odoo_path: Annotated[str, BeforeValidator(_path)] = Field(
        Settings.odoo_path,
        description="a directory with Odoo's code, when its interpreter does not have it installed",
    )
    direct: Annotated[bool, BeforeValidator(_yes_no)] = Field(
        Settings.direct,
        description="beside Odoo: run jobs without the addon's code where that changes nothing; no: never",
    )
    shadow: Annotated[bool, BeforeValidator(_yes_no)] = Field(
        Settings.shadow,
        description="beside Odoo: start nothing, only compare decisions with the stock runner",
    )
    max_workers: Annotated[int, BeforeValidator(_number(1, MOST_WORKERS))] = Field(
        Settings.max_workers, description="workers at most, in all pools together"
    )
    user: Annotated[str, BeforeValidator(str.strip)] = Field(
        Settings.user, description="started by root: the user that all but the master run as; empty: root"
    )
    group: Annotated[str, BeforeValidator(str.strip)] = Field(
        Settings.group, description="its group; empty: the user's own"
    )
    pidfile: Annotated[str, BeforeValidator(_path)] = Field(
        Settings.pidfile, description="where the master writes its process id and holds a lock"
    )
    logfile: Annotated[str, BeforeValidator(_path)] = Field(
        Settings.logfile, description="the log; empty: standard error"
    )
    log_level: Annotated[str, BeforeValidator(_one_of(*LEVELS))] = Field(
        Settings.log_level, description="the least level that is logged"
    )
    log_format: Annotated[str, BeforeValidator(_one_of("text", "json"))] = Field(
        Settings.log_format, description="the form of a log line"
    )
    log_handler: Annotated[tuple[str, ...], BeforeValidator(_log_handlers)] = Field(
        Settings.log_handlers, description="levels of single loggers, LOGGER:LEVEL, by comma"
    )
    graceful_timeout: Duration = Field(
        Settings.graceful_timeout,
        description="how long running jobs may take to finish when the service stops",
    )
    kill_grace: Duration = Field(
        Settings.kill_grace, description="between asking a worker to stop its job and killing it"
    )
    heartbeat_timeout: Duration = Field(
        Settings.heartbeat_timeout, description="a worker silent for longer counts as hung; 0: never"
    )
    on_error: Annotated[str, BeforeValidator(_one_of("fail", "retry"))] = Field(
        Settings.on_error,
        description="what becomes of a job that raises anything but RetryableJobError and FailedJobError",
    )
    retry_delay: Duration = Field(
        Settings.retry_delay,
        description="the wait before another try, when neither exception nor function gives one",
    )
    max_backoff: Duration = Field(
        Settings.max_backoff, description="the longest wait that growing delays reach"
    )
    unknown_model_grace: Duration = Field(
        Settings.unknown_model_grace, description="how long a job may wait for a model or method to exist"
    )
    poll_interval: Annotated[float, BeforeValidator(_positive_seconds)] = Field(
        Settings.poll_interval,
        description="how often each database is polled, in case a notification was lost",
    )
    slice: Duration = Field(
        Settings.slice,
        description="how long a worker may run its channel's next jobs without asking; 0: one job",
    )

    timeout: Duration = Field(
        Settings.timeout, description="how long a job without a timeout of its own may run; 0: for ever"
    )
    cpu: Duration = Field(
        Settings.cpu, description="processor time that one job may use; 0: any (also: limit_time_cpu)"
    )
    memory_soft: Size = Field(
        Settings.memory_soft,
        description="a worker that is larger is replaced after its job; 0: never (also: limit_memory_soft)",
    )
    memory: Size = Field(
        Settings.memory,
        description="a job whose worker gets larger is stopped; 0: never (also: limit_memory_hard)",
    )
    max_jobs: Annotated[int, BeforeValidator(_number(0, 1_000_000_000))] = Field(
        Settings.max_jobs, description="a worker is replaced after about so many jobs; 0: never"
    )
    max_age: Duration = Field(
        Settings.max_age, description="a worker is replaced after about this time; 0: never"
    )
    poison_after: Annotated[int, BeforeValidator(_number(0, 1000))] = Field(
        Settings.poison_after, description="a job fails after so many dead workers in a row; 0: never"
    )
    http: Annotated[str, BeforeValidator(_http)] = Field(
        Settings.http, description="where metrics and health are served, HOST:PORT; empty: nowhere"
    )
    http_user: Annotated[str, BeforeValidator(str.strip)] = Field(
        Settings.http_user, description="the user who may read metrics and health, with http_password"
    )
    http_password: Annotated[str, BeforeValidator(str.strip)] = Field(
        Settings.http_password, description="needed, or http_token, to listen beyond loopback"
    )
    http_token: Annotated[str, BeforeValidator(str.strip)] = Field(
        Settings.http_token, description="the same for programs: Authorization: Bearer TOKEN"
    )
    retention: Duration = Field(
        Settings.retention, description="done and cancelled jobs are removed after so long; 0: never"
    )
    failed_retention: Duration = Field(
        Settings.failed_retention, description="failed jobs are removed after so long; 0: never"
    )

    def http_problems(self) -> list[str]:
        """What is wrong with the login: beyond loopback one is required."""
        if bool(self.http_user) != bool(self.http_password):
            return ["options http_user and http_password: one of them is empty; expected both or neither"]
        if not self.http or is_loopback(parse_address(self.http)[0]) or self.http_token or self.http_password:
            return []
        return [
            f"option http = {self.http!r}: anybody who reaches this machine could read there; expected http_user and"
            " http_password, or http_token, beside it, or a loopback address (127.0.0.1:8079)"
        ]

    def settings(self) -> Settings:
        """The plain settings for the other processes."""
        values: dict[str, Any] = {name: getattr(self, name) for name in Options.model_fields}
        channels = values.pop("channels").channels
        return Settings(
            channels=channels,
            pools=Tree(channels).pool_sizes(self.max_workers),
            databases=keep_ids(values.pop("database"), ()),
            log_handlers=values.pop("log_handler"),
            **values,
        )
