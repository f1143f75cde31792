"""Whose jobs a command is about: what it is told, else what the supervisor that runs here serves."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from queuemaster.cli.databases import chosen, with_queue
from queuemaster.cli.pidfile import named
from queuemaster.cli.supervisor import Supervisor, running_supervisor
from queuemaster.config import paths
from queuemaster.config.compiled import DatabaseConfig, Settings
from queuemaster.config.sources import Compiled


def supervisor_here(configuration: Compiled) -> Supervisor | None:
    """The one that runs here, unless databases are named or configured: then it need not be theirs."""
    if configuration.settings.databases or configuration.settings.discovery is not None:
        return None
    supervisor = running_supervisor(named(configuration))
    # the variable names the embedded PostgreSQL of that directory
    if supervisor is None or (os.environ.get("QUEUEMASTER_DATA_DIR") and not _is_there(supervisor.settings)):
        return None
    return supervisor


def _is_there(settings: Settings) -> bool:
    """Whether it runs the embedded PostgreSQL of our own default."""
    return settings.server is not None and settings.server.data_dir == str(paths.default_data_dir())


@contextlib.contextmanager
def asked(configuration: Compiled) -> Iterator[tuple[DatabaseConfig, ...]]:
    """The databases named or configured; else those of the supervisor that runs here; else the embedded one."""
    supervisor = supervisor_here(configuration)
    if supervisor is not None and supervisor.settings.databases:
        yield with_queue(supervisor.settings)
        return
    with chosen(configuration.settings) as databases:
        yield databases
