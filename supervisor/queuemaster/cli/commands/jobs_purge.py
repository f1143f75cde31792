"""``queuemaster jobs purge``: remove finished jobs that are old, now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from psycopg2.extensions import connection as Connection

from queuejobs.shared.amounts import read_duration
from queuejobs.store.retention import FAILED, FINISHED, START, PurgeCursor
from queuejobs.store.retention import purge as purge_batch
from queuemaster.channels.parse import complete_name
from queuemaster.cli.commands.job_actions import asking, session
from queuemaster.cli.flags import compiled, configured, databases_option
from queuemaster.cli.output import Refusal, print_json, warn
from queuemaster.cli.targets import asked
from queuemaster.dispatcher.retention import Age, Ages, due


class Duration(click.ParamType[float]):
    """``30d``, ``12h``, ``90``."""

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
    wanted = list(states or FINISHED)
    if older_than is None:
        wanted = [state for state in ages.states if state in (states or ages.states)]
    if not wanted:
        raise Refusal("these are kept for ever (retention, failed_retention): say how old with --older-than")
    asking(yes)(f"remove jobs that are {', '.join(wanted)}, for good?")

    def age(state: str, stored: str) -> float | None:
        if channel and not f"{complete_name(stored)}.".startswith(f"{complete_name(channel)}."):
            return None
        return ages.age(state, stored) if older_than is None else older_than

    removed = 0
    with asked(configuration) as databases:
        for each in databases:
            with session(each) as connection:
                removed += _purge(connection, wanted, age)
    if as_json:
        print_json({"removed": removed})
    else:
        click.echo(f"{removed} jobs removed")


def _purge(connection: Connection, states: list[str], age: Age) -> int:
    """All of it, in batches of a transaction each."""
    removed = 0
    with connection.cursor() as cursor:
        for each in due(lambda: cursor, states, age):
            if isinstance(each, int):
                continue
            place: PurgeCursor | None = START
            while place is not None:
                batch = purge_batch(cursor, *each, place)
                removed, place = removed + batch.removed, batch.next
    return removed
