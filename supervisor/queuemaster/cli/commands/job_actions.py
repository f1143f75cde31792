"""``queuemaster jobs requeue``, ``cancel`` and ``done``: for jobs named, or for all in a state.

What may be done in which state is guarded in the database. Each job is a transaction of its own: thousands in one
would hold locks that workers wait for, and two such at once could deadlock.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import psycopg2
from psycopg2.extensions import connection as Connection

from queuejobs.store import actions
from queuemaster.channels.parse import complete_name
from queuemaster.cli.databases import opened, require_schema, server_message
from queuemaster.cli.flags import compiled, configured, databases_option
from queuemaster.cli.output import Failure, Refusal, note, print_json, warn
from queuemaster.cli.statements import MATCHING
from queuemaster.cli.targets import asked
from queuemaster.config.compiled import DatabaseConfig
from queuemaster.config.dsn import describe

_DID = {"requeue": "requeued", "cancel": "cancelled", "done": "set to done"}
_HELP = {
    "requeue": "Have failed, done or cancelled jobs run from the beginning.",
    "cancel": "Cancel jobs, and with each all its waiting descendants.\n\n"
    "A running job is stopped and rolled back first: the command does not wait for that.",
    "done": "Set jobs to done without running them: what waits for them goes on.",
}


class Selection(NamedTuple):
    """Which jobs: those named, or all that match."""

    uuids: tuple[str, ...]
    state: str | None
    channel: str | None


class Outcome(NamedTuple):
    """What came of one job; ``refused`` says why nothing."""

    database: str
    uuid: str
    state: str | None
    refused: str | None


def _command(name: str) -> click.Command:
    @click.command(name, help=_HELP[name])
    @click.argument("uuids", metavar="UUID...", nargs=-1)
    @databases_option
    @configured
    @click.option(
        "--state", type=click.Choice(actions.ACTIONS[name].applies_to), help="All jobs in this state."
    )
    @click.option("--channel", help="With --state: only those of this channel and below it.")
    @click.option("--yes", is_flag=True, help="Do not ask; without a terminal nothing is asked anyway.")
    @click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
    def command(
        uuids: tuple[str, ...], file: Path | None, assignments: tuple[str, ...], database: tuple[str, ...],
        state: str | None, channel: str | None, yes: bool, as_json: bool,
    ) -> None:  # fmt: skip
        selection = _selection(uuids, state, channel)
        configuration = compiled(file, assignments, {"database": database})
        warn(configuration.warnings)
        with asked(configuration) as databases:
            outcomes = (
                _named(name, databases, uuids)
                if uuids
                else _matching(name, databases, selection, asking(yes))
            )
        _tell(name, outcomes, bool(uuids), as_json)

    return command


requeue, cancel, done = (_command(name) for name in ("requeue", "cancel", "done"))


def asking(yes: bool) -> Callable[[str], None]:
    """Ask the person at the terminal, if there is one; a "no" ends the command."""

    def ask(question: str) -> None:
        if not yes and sys.stdin.isatty() and not click.confirm(question, err=True):
            raise Failure("nothing was changed")

    return ask


def _selection(uuids: tuple[str, ...], state: str | None, channel: str | None) -> Selection:
    if bool(uuids) == bool(state or channel):
        raise Refusal("name the jobs by UUID, or all in a state with --state (and --channel): one of the two")
    if channel and not state:
        raise Refusal(f"--channel {channel}: expected --state as well, a channel has jobs in all states")
    return Selection(uuids, state, complete_name(channel) if channel else None)


def _named(name: str, databases: Iterable[DatabaseConfig], uuids: Iterable[str]) -> list[Outcome]:
    found: dict[str, Outcome] = {}
    for database in databases:
        with session(database) as connection:
            for uuid in uuids:
                if uuid not in found and (outcome := _act(connection, database, name, uuid)).state:
                    found[uuid] = outcome
    where = ", ".join(describe(each) for each in databases)
    missing = f"no job has the uuid {{}} in {where}"
    return [found.get(uuid) or Outcome("", uuid, None, missing.format(uuid)) for uuid in dict.fromkeys(uuids)]


def _matching(
    name: str, databases: Iterable[DatabaseConfig], selection: Selection, ask: Callable[[str], None]
) -> list[Outcome]:
    wanted = {"state": selection.state, "channel": selection.channel}
    matching: dict[DatabaseConfig, list[str]] = {}
    for database in databases:
        with session(database) as connection, connection.cursor() as cursor:
            cursor.execute(MATCHING, wanted)
            matching[database] = [row[0] for row in cursor.fetchall()]
    total = sum(map(len, matching.values()))
    if total:
        where = f" of {selection.channel}" if selection.channel else ""
        ask(f"{name}: {total} jobs that are {selection.state}{where}. Go on?")
    outcomes = []
    for database, uuids in matching.items():
        with session(database) as connection:
            outcomes += [_act(connection, database, name, uuid) for uuid in uuids]
    # one that was purged meanwhile is no failure
    return [outcome for outcome in outcomes if outcome.state]


@contextlib.contextmanager
def session(database: DatabaseConfig) -> Iterator[Connection]:
    """A connection in autocommit mode to a queue; what the server objects to is a failure in words."""
    with opened(database) as connection:
        require_schema(database, connection)
        connection.autocommit = True
        try:
            yield connection
        except psycopg2.Error as error:
            raise Failure(f"database {describe(database)}: {server_message(error)}") from error


def _act(connection: Connection, database: DatabaseConfig, name: str, uuid: str) -> Outcome:
    with connection.cursor() as cursor:
        state = actions.act(cursor, name, uuid)
    return Outcome(database.name, uuid, state, actions.refusal(name, uuid, state) if state else None)


def _tell(name: str, outcomes: list[Outcome], named: bool, as_json: bool) -> None:
    """What was done on stdout, what was not on stderr. A job named that was refused is a failure."""
    refused = [outcome for outcome in outcomes if outcome.refused]
    states = Counter(outcome.state for outcome in outcomes if not outcome.refused)
    stopping = states.pop("started", 0)
    document: dict[str, Any] = {"action": name, "changed": states.total(), "stopping": stopping}
    if as_json:
        listed = {"jobs": [outcome._asdict() for outcome in outcomes]} if named else {}
        print_json({**document, "refused": len(refused), **listed})
    else:
        said = f"{states.total()} jobs {_DID[name]}"
        click.echo(f"{said}; {stopping} running jobs are being stopped" if stopping else said)
    if named and refused:
        raise Failure("\n".join(str(outcome.refused) for outcome in refused))
    if refused:
        note(f"{len(refused)} jobs were in another state by then: left alone")
