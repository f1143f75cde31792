"""Which databases and channels a command is about: the configured ones, else those of the supervisor that runs here."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from queuemaster.channels import Tree
from queuemaster.cli.databases import configured_databases, databases_with_queue
from queuemaster.cli.pidfile import pidfile_of
from queuemaster.cli.supervisor import Supervisor, running_supervisor
from queuemaster.config import paths
from queuemaster.config.compiled import DatabaseConfig, Settings
from queuemaster.config.sources import Compiled


def supervisor_here(configuration: Compiled) -> Supervisor | None:
    """The supervisor that runs here; None where databases are configured, which need not be the supervisor's."""
    if configuration.settings.databases or configuration.settings.discovery is not None:
        return None
    supervisor = running_supervisor(pidfile_of(configuration))
    # QUEUEMASTER_DATA_DIR names an embedded PostgreSQL: a supervisor on another one is not meant
    if supervisor is None or (
        os.environ.get("QUEUEMASTER_DATA_DIR") and not _runs_default_server(supervisor.settings)
    ):
        return None
    return supervisor


def _runs_default_server(settings: Settings) -> bool:
    return settings.server is not None and settings.server.data_dir == str(paths.default_data_dir())


def target_databases(
    configuration: Compiled,
) -> contextlib.AbstractContextManager[tuple[DatabaseConfig, ...]]:
    """The configured databases; else those of the supervisor that runs here; else the embedded one."""
    supervisor = supervisor_here(configuration)
    # beside Odoo it may have no database yet
    serves = supervisor is not None and bool(supervisor.settings.databases)
    return served_or_configured(configuration, supervisor if serves else None)


@contextlib.contextmanager
def served_or_configured(
    configuration: Compiled, supervisor: Supervisor | None
) -> Iterator[tuple[DatabaseConfig, ...]]:
    """The databases of this supervisor; without one the configured ones, else the embedded one."""
    if supervisor is not None:
        yield databases_with_queue(supervisor.settings)
        return
    with configured_databases(configuration.settings) as databases:
        yield databases


def known_tree(configuration: Compiled, supervisor: Supervisor | None) -> Tree | None:
    """The configured channels, else the supervisor's; None without both, since the default need not be in use."""
    source = next(value.source for value in configuration.values if value.option == "channels")
    if source != "default":
        return Tree(configuration.settings.channels)
    return None if supervisor is None else Tree(supervisor.settings.channels)
