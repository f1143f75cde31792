"""``queuemaster init``: create or upgrade the native queue."""

from __future__ import annotations

from pathlib import Path

import click

from queuejobs.store import schema
from queuemaster.cli.databases import embedded_server, upgrade
from queuemaster.cli.flags import compiled, configured, databases_option
from queuemaster.cli.output import Failure, Refusal, warn
from queuemaster.config.compiled import DatabaseConfig
from queuemaster.config.dsn import describe


@click.command()
@databases_option
@configured
def init(file: Path | None, assignments: tuple[str, ...], database: tuple[str, ...]) -> None:
    """Create or upgrade the queue in each database named; else in the embedded PostgreSQL.

    It can be repeated at any time: what is there already stays, jobs are never lost.
    """
    configuration = compiled(file, assignments, {"database": database})
    warn(configuration.warnings)
    databases = configuration.settings.databases
    if not databases:
        with embedded_server() as embedded:
            click.echo(f"embedded PostgreSQL, {describe(embedded)}: {initialise(embedded)}")
        return
    refused: list[str] = []
    failed: list[str] = []
    for each in databases:
        # one bad database must not keep the others from being made
        try:
            click.echo(f"{describe(each)}: {initialise(each)}")
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
    applied = upgrade(database)
    names = [step.name for step in schema.steps() if step.version in applied]
    if not names:
        return f"the queue is there, at version {schema.steps()[-1].version}; nothing to do"
    done = "created the queue" if applied[0] == schema.steps()[0].version else "upgraded the queue"
    return f"{done} ({', '.join(names)})"
