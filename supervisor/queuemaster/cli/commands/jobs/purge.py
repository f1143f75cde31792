"""``queuemaster jobs purge``: remove old finished jobs now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from psycopg2.extensions import connection as Connection

from queuejobs.shared.amounts import read_duration
from queuejobs.store.retention import FAILED, FINISHED, START, PurgeCursor
from queuejobs.store.retention import purge as purge_batch
from queuemaster.channels.parse import complete_name
from queuemaster.cli.databases import queue_session
from queuemaster.cli.flags import compiled, configured, databases_option
from queuemaster.cli.output import Refusal, confirmation, print_json, warn
from queuemaster.cli.targets import target_databases
from queuemaster.dispatcher.retention import Age, Ages, due


class Duration(click.ParamType[float]):
    """A flag's duration, in seconds: ``30d``, ``12h``, ``90``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return read_duration(value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


@click.command()
@databases_option
@configured
@click.option(
    "--older-than", type=Duration(), metavar="DURATION",
    help="Ended longer ago than this (30d, 12h). Default: as configured, retention and failed_retention.",
)  # fmt: skip
@click.option(
    "--state", "states", type=click.Choice([*FINISHED, FAILED]), multiple=True,
    help="Only in this state; repeatable. Default: done and cancelled, failed only as configured.",
)  # fmt: skip
@click.option("--channel", help="Only of this channel and those below it.")
@click.option("--yes", is_flag=True, help="Do not ask; without a terminal nothing is asked anyway.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def purge(
    file: Path | None, assignments: tuple[str, ...], database: tuple[str, ...], older_than: float | None,
    states: tuple[str, ...], channel: str | None, yes: bool, as_json: bool,
) -> None:  # fmt: skip
    """Remove jobs that ended long ago. What waiting jobs still depend on stays, whatever its age."""
    configuration = compiled(file, assignments, {"database": database})
    warn(configuration.warnings)
    ages = Ages(configuration.settings)
    purged_states = list(states or FINISHED)
    if older_than is None:
        purged_states = [state for state in ages.states if state in (states or ages.states)]
    if not purged_states:
        raise Refusal(
            "these jobs are kept for ever (retention, failed_retention): say how old with --older-than"
        )
    ask = confirmation(yes)
    ask(f"remove jobs that are {', '.join(purged_states)}, for good?")

    def age(state: str, stored: str) -> float | None:
        if channel and not f"{complete_name(stored)}.".startswith(f"{complete_name(channel)}."):
            return None
        return ages.age(state, stored) if older_than is None else older_than

    removed = 0
    with target_databases(configuration) as databases:
        for config in databases:
            with queue_session(config) as connection:
                removed += _purge(connection, purged_states, age)
    if as_json:
        print_json({"removed": removed})
    else:
        click.echo(f"{removed} jobs removed")


def _purge(connection: Connection, states: list[str], age: Age) -> int:
    """Remove all jobs that are due, in batches of one transaction each; returns how many."""
    removed = 0
    with connection.cursor() as cursor:
        for step in due(lambda: cursor, states, age):
            # an int is how many channels were looked at: the dispatcher needs it to pace itself, a command does not
            if isinstance(step, int):
                continue
            place: PurgeCursor | None = START
            while place is not None:
                batch = purge_batch(cursor, *step, place)
                removed, place = removed + batch.removed, batch.next
    return removed
