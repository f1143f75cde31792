"""``queuemaster jobs requeue``, ``cancel`` and ``done``: one command in three forms, for named jobs or all in a state.

The database guards which action is allowed in which state. Each job is a transaction of its own: thousands in one would
hold locks that workers wait for, and two such transactions at once could deadlock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import click
from psycopg2.extensions import connection as Connection

from queuejobs.shared.job_state import JobState
from queuejobs.store import actions
from queuemaster.channels.parse import complete_name
from queuemaster.cli.databases import queue_session
from queuemaster.cli.flags import compiled, configured, databases_option
from queuemaster.cli.output import Failure, Refusal, confirmation, note, print_json, warn
from queuemaster.cli.statements import MATCHING_UUIDS
from queuemaster.cli.targets import target_databases
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
    """Which jobs: the named ones, or all that match."""

    uuids: tuple[str, ...]
    state: str | None
    channel: str | None


class Outcome(NamedTuple):
    """The result for one job. ``state``: None for a job that does not exist; ``refused``: why nothing was done."""

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
        with target_databases(configuration) as databases:
            outcomes = (
                _named(name, databases, uuids)
                if uuids
                else _matching(name, databases, selection, confirmation(yes))
            )
        _report(name, outcomes, bool(uuids), as_json)

    return command


requeue, cancel, done = (_command(name) for name in ("requeue", "cancel", "done"))


def _selection(uuids: tuple[str, ...], state: str | None, channel: str | None) -> Selection:
    if bool(uuids) == bool(state or channel):
        raise Refusal("name the jobs by UUID, or all in a state with --state (and --channel): one of the two")
    if channel and not state:
        raise Refusal(f"--channel {channel}: expected --state as well, a channel has jobs in all states")
    return Selection(uuids, state, complete_name(channel) if channel else None)


def _named(name: str, databases: Iterable[DatabaseConfig], uuids: Iterable[str]) -> list[Outcome]:
    outcomes: dict[str, Outcome] = {}
    for database in databases:
        with queue_session(database) as connection:
            for uuid in uuids:
                if uuid not in outcomes and (outcome := _act(connection, database, name, uuid)).state:
                    outcomes[uuid] = outcome
    where = ", ".join(describe(database) for database in databases)
    return [
        outcomes.get(uuid) or Outcome("", uuid, None, f"no job has the uuid {uuid} in {where}")
        for uuid in dict.fromkeys(uuids)
    ]


def _matching(
    name: str, databases: Iterable[DatabaseConfig], selection: Selection, ask: Callable[[str], None]
) -> list[Outcome]:
    filters = {"state": selection.state, "channel": selection.channel}
    matching: dict[DatabaseConfig, list[str]] = {}
    for database in databases:
        with queue_session(database) as connection, connection.cursor() as cursor:
            cursor.execute(MATCHING_UUIDS, filters)
            matching[database] = [uuid for (uuid,) in cursor.fetchall()]
    total = sum(map(len, matching.values()))
    if total:
        where = f" of {selection.channel}" if selection.channel else ""
        ask(f"{name}: {total} jobs that are {selection.state}{where}. Go on?")
    outcomes = []
    for database, uuids in matching.items():
        with queue_session(database) as connection:
            outcomes += [_act(connection, database, name, uuid) for uuid in uuids]
    # a job without a state was purged meanwhile, which is no failure
    return [outcome for outcome in outcomes if outcome.state]


def _act(connection: Connection, database: DatabaseConfig, name: str, uuid: str) -> Outcome:
    with connection.cursor() as cursor:
        state = actions.act(cursor, name, uuid)
    return Outcome(database.name, uuid, state, actions.refusal(name, uuid, state) if state else None)


def _report(name: str, outcomes: list[Outcome], named: bool, as_json: bool) -> None:
    """Say on stdout what was done, on stderr what was refused. Raises Failure when a named job was refused."""
    refused = [outcome for outcome in outcomes if outcome.refused]
    states = Counter(outcome.state for outcome in outcomes if not outcome.refused)
    stopping = states.pop(JobState.STARTED.value, 0)
    document: dict[str, Any] = {"action": name, "changed": states.total(), "stopping": stopping}
    if as_json:
        listed = {"jobs": [outcome._asdict() for outcome in outcomes]} if named else {}
        print_json({**document, "refused": len(refused), **listed})
    else:
        summary = f"{states.total()} jobs {_DID[name]}"
        click.echo(f"{summary}; {stopping} running jobs are being stopped" if stopping else summary)
    if named and refused:
        raise Failure("\n".join(str(outcome.refused) for outcome in refused))
    if refused:
        note(f"{len(refused)} jobs were in another state by then: left alone")
