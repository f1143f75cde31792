"""``queuemaster init``: create or upgrade the native queue."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import click

from queuemaster.cli.databases import embedded_server, located, upgrade
from queuemaster.cli.flags import compiled, configured, databases_option
from queuemaster.cli.odoo.facts import look
from queuemaster.cli.odoo.indexes import echo
from queuemaster.cli.output import Failure, Refusal, warn
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

    It can be repeated at any time: what is there already stays, jobs are never lost. Beside Odoo there is nothing to
    create beforehand; with --indexes the indexes are added that make a long queue fast.
    """
    configuration = compiled(file, assignments, {"database": database})
    warn(configuration.warnings)
    if indexes:
        add_indexes(located(configuration.settings))
        return
    if configuration.settings.odoo:
        raise Refusal(
            f"{configuration.settings.odoo} is Odoo's, and in Odoo's databases nothing is to be made beforehand: start"
            " queuemaster run; init --indexes adds the indexes that make a long queue fast.\n  For a native queue name"
            " its app too, or leave out this file"
        )
    databases = configuration.settings.databases
    if not databases:
        with embedded_server() as embedded:
            click.echo(f"embedded PostgreSQL, {describe(embedded)}: {initialise(embedded)}")
        return
    _each(databases, lambda each: click.echo(f"{describe(each)}: {initialise(each)}"))


def add_indexes(settings: Settings) -> None:
    """Those of Odoo's databases; of the ones that were found, the addon may not be in all."""
    if not settings.databases:
        raise Refusal("--indexes: expected Odoo's databases, named with --database or in odoo.conf (-c)")

    def work(database: DatabaseConfig) -> None:
        # of those that were found, not named, the addon need not be in all
        if settings.discovery is not None and (problem := look(database).problem):
            click.echo(f"{describe(database)}: {problem}; passed over")
        else:
            echo(database)

    _each(settings.databases, work)


def _each(databases: Iterable[DatabaseConfig], work: Callable[[DatabaseConfig], None]) -> None:
    """One bad database must not keep the others from being made."""
    refused: list[str] = []
    failed: list[str] = []
    for each in databases:
        try:
            work(each)
        except Refusal as refusal:
            refused.append(refusal.message)
        except Failure as failure:
            failed.append(failure.message)
    if refused:
        raise Refusal("\n".join(refused + failed))
    if failed:
        raise Failure("\n".join(failed))


def initialise(database: DatabaseConfig) -> str:
    """Bring one database to this version; what was done, in words."""
    before, after = upgrade(database)
    if before is None:
        return f"created the queue (version {after})"
    if before == after:
        return f"the queue is there, at version {after}; nothing to do"
    return f"upgraded the queue (from version {before} to {after})"
