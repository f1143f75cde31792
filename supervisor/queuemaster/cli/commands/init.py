"""``queuemaster init``: create or upgrade the native queue."""

from __future__ import annotations

from pathlib import Path

import click

from queuemaster.cli.databases import (
    embedded_server,
    for_each_database,
    upgrade,
    with_discovered_databases,
)
from queuemaster.cli.flags import compiled, configured, databases_option
from queuemaster.cli.odoo.facts import facts_of
from queuemaster.cli.odoo.indexes import make_and_print
from queuemaster.cli.output import Refusal, warn
from queuemaster.config.compiled import DatabaseConfig, Settings
from queuemaster.config.dsn import describe


@click.command()
@databases_option
@configured
@click.option(
    "--indexes", is_flag=True, help="Only our indexes, on Odoo's table queue_job: jobs go on meanwhile."
)
def init(file: Path | None, assignments: tuple[str, ...], database: tuple[str, ...], indexes: bool) -> None:
    """Create or upgrade the queue in each database named; else in the embedded PostgreSQL.

    It can be repeated at any time: what exists stays, and no job is lost. Beside Odoo there is nothing to create
    beforehand; --indexes adds the indexes that make a long queue fast.
    """
    configuration = compiled(file, assignments, {"database": database})
    warn(configuration.warnings)
    if indexes:
        add_indexes(with_discovered_databases(configuration.settings))
        return
    if configuration.settings.odoo:
        raise Refusal(
            f"{configuration.settings.odoo} is Odoo's, and in Odoo's databases there is nothing to create beforehand:"
            " start queuemaster run; init --indexes adds the indexes that make a long queue fast.\n  For a native queue"
            " name its app too, or leave out this file"
        )
    databases = configuration.settings.databases
    if not databases:
        with embedded_server() as embedded:
            click.echo(f"embedded PostgreSQL, {describe(embedded)}: {initialise(embedded)}")
        return
    for_each_database(databases, lambda database: click.echo(f"{describe(database)}: {initialise(database)}"))


def add_indexes(settings: Settings) -> None:
    """Make our indexes in Odoo's databases."""
    if not settings.databases:
        raise Refusal("--indexes: expected Odoo's databases, named with --database or in odoo.conf (-c)")

    def work(database: DatabaseConfig) -> None:
        # discovered databases need not all have the addon; a named one must
        if settings.discovery is not None and (problem := facts_of(database).problem):
            click.echo(f"{describe(database)}: {problem}; passed over")
        else:
            make_and_print(database)

    for_each_database(settings.databases, work)


def initialise(database: DatabaseConfig) -> str:
    """Bring one database to this version. Returns what was done, in words."""
    before, after = upgrade(database)
    if before is None:
        return f"created the queue (version {after})"
    if before == after:
        return f"the queue is there, at version {after}; nothing to do"
    return f"upgraded the queue (from version {before} to {after})"
