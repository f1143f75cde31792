"""``queuemaster why``: what keeps a job from running, and who."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
import psycopg2
from psycopg2.extensions import connection as Connection
from rich.table import Table
from rich.text import Text

from queuejobs.store import oca, schema
from queuemaster.channels import Override, Tree
from queuemaster.cli.databases import chosen, opened, server_message, with_queue
from queuemaster.cli.flags import channels_option, compiled, configured, databases_option, pidfile_option
from queuemaster.cli.output import Failure, Refusal, console, note, print_json, printable, warn
from queuemaster.cli.pidfile import named
from queuemaster.cli.supervisor import Supervisor, running_supervisor
from queuemaster.config.compiled import DatabaseConfig
from queuemaster.config.dsn import describe
from queuemaster.config.sources import Compiled
from queuemaster.dispatcher import live_limits
from queuemaster.why import reading
from queuemaster.why.answer import Answer, answer
from queuemaster.why.facts import Facts, Other, Pool
from queuemaster.why.gates import Channels, Gate, Verdict

_WORDS = {
    Verdict.OPEN: ("open", "green"),
    Verdict.SHUT: ("shut", "bold red"),
    Verdict.UNKNOWN: ("?", "yellow"),
}


@click.command()
@click.argument("uuid")
@databases_option
@configured
@channels_option
@pidfile_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def why(
    uuid: str, file: Path | None, assignments: tuple[str, ...], database: tuple[str, ...],
    channels: str | None, pidfile: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Why is this job not running? Each gate in turn, open or shut, and who holds it.

    Nothing is changed. Databases and channels are those that are named or configured, else those of the
    supervisor that runs here (by its pid file), else the embedded PostgreSQL.

    Exit codes: 0 there is an answer; 1 no such job; 2 usage or configuration error, or no database to ask.
    """
    flags = {"channels": channels, "database": database, "pidfile": pidfile}
    configuration = compiled(file, assignments, flags)
    warn(configuration.warnings)
    supervisor = running_supervisor(named(configuration))
    with _databases(configuration, supervisor) as databases:
        found = _look(uuid, databases, configuration, supervisor)
    if as_json:
        print_json(document(*found))
    else:
        show(*found)


@contextlib.contextmanager
def _databases(
    configuration: Compiled, supervisor: Supervisor | None
) -> Iterator[tuple[DatabaseConfig, ...]]:
    if not configuration.settings.databases and supervisor is not None:
        yield with_queue(supervisor.settings)
        return
    with chosen(configuration.settings) as databases:
        yield databases


@dataclass
class _Asked:
    """A database that answers."""

    config: DatabaseConfig
    connection: Connection
    schema_problem: str
    overrides: tuple[Override, ...] = ()


def _look(
    uuid: str, databases: Sequence[DatabaseConfig], configuration: Compiled, supervisor: Supervisor | None
) -> tuple[Facts, Answer]:
    with contextlib.ExitStack() as stack:
        asked, problems = _ask(stack, databases)
        holder = next((each for each in asked if _has(each, uuid)), None)
        if holder is None:
            raise _not_found(uuid, databases, asked, problems)
        for problem in problems:
            note(problem)
        if supervisor is not None and not supervisor.serves(holder.config):
            supervisor = None
        if supervisor is not None:  # jobs of all its databases take slots of the same channels
            known = {each.config.dsn for each in asked}
            others = [each for each in with_queue(supervisor.settings) if each.dsn not in known]
            more, problems = _ask(stack, others)
            asked += more
            for problem in problems:
                note(problem)
        tree = _configured(configuration, supervisor)
        channels = (
            None if tree is None else Channels(tree, {each.config.name: each.overrides for each in asked})
        )
        facts = _read(holder, uuid, channels)
        elsewhere = tuple(job for each in asked if each is not holder for job in _running(each))
        facts = replace(facts, running=facts.running + elsewhere, pools=_pools(supervisor))
        return facts, answer(facts, channels)


def _ask(stack: contextlib.ExitStack, databases: Sequence[DatabaseConfig]) -> tuple[list[_Asked], list[str]]:
    """Open all that can be asked; of the others, what is wrong with them."""
    asked: list[_Asked] = []
    problems: list[str] = []
    for config in databases:
        try:
            connection = stack.enter_context(opened(config))
            problem = _schema_problem(connection)
            connection.autocommit = True
            with connection.cursor() as cursor:
                if reading.prepare(cursor):
                    asked.append(_Asked(config, connection, problem, live_limits.read(cursor)))
                else:
                    problems.append(f"database {describe(config)}: {problem}")
        except Refusal as refusal:
            problems.append(refusal.message)
        except psycopg2.Error as error:
            problems.append(f"database {describe(config)}: {server_message(error)}")
    return asked, problems


def _schema_problem(connection: Connection) -> str:
    """Why a supervisor of this version would refuse the database; it may be asked all the same."""
    try:
        with connection, connection.cursor() as cursor:
            if oca.is_installed(cursor):
                return oca.newer(cursor)
        schema.require_current(connection)
    except schema.SchemaError as error:
        return str(error)
    return ""


def _not_found(
    uuid: str, databases: Sequence[DatabaseConfig], asked: Sequence[_Asked], problems: Sequence[str]
) -> Failure:
    if not asked:
        return Refusal("\n".join(problems))
    where = ", ".join(describe(each.config) for each in asked)
    return Failure("\n".join([f"no job has the uuid {uuid} in {where}", *problems]))


def _has(asked: _Asked, uuid: str) -> bool:
    with asked.connection.cursor() as cursor:
        cursor.execute("select exists (select from queuemaster.queue_job where uuid = %s)", (uuid,))
        row = cursor.fetchone()
    return row is not None and bool(row[0])


def _read(asked: _Asked, uuid: str, channels: Channels | None) -> Facts:
    tree = None if channels is None else channels.tree
    try:
        with asked.connection.cursor() as cursor:
            facts = reading.read(cursor, asked.config.name, uuid, tree, asked.schema_problem)
    except psycopg2.Error as error:
        raise Failure(f"database {describe(asked.config)}: {server_message(error)}") from error
    if facts is None:
        raise Failure(f"the job {uuid} is gone from {describe(asked.config)}")
    return facts


def _running(asked: _Asked) -> tuple[Other, ...]:
    with asked.connection.cursor() as cursor:
        return reading.running(cursor, asked.config.name)


def _configured(configuration: Compiled, supervisor: Supervisor | None) -> Tree | None:
    """The channels that somebody names, else those of the supervisor; the default proves nothing."""
    source = next(value.source for value in configuration.values if value.option == "channels")
    if source != "default":
        return Tree(configuration.settings.channels)
    return None if supervisor is None else Tree(supervisor.settings.channels)


def _pools(supervisor: Supervisor | None) -> dict[str, Pool] | None:
    status = None if supervisor is None else supervisor.board.master.read()
    if status is None:
        return None
    return {
        channel: Pool(pool["target"], pool["alive"], pool["backoff_seconds"])
        for channel, pool in status["pools"].items()
    }


# how it is shown


def document(facts: Facts, found: Answer) -> dict[str, Any]:
    """The answer of ``--json``; ages and waits are seconds."""
    return {
        "uuid": facts.job.uuid,
        "database": facts.database,
        "call": facts.job.call,
        "channel": facts.job.channel,
        "state": facts.job.state,
        "waits": found.waits,
        "summary": found.summary,
        "gates": [
            {
                "gate": gate.name,
                "verdict": gate.verdict.value,
                "says": gate.says,
                "holders": [asdict(holder) for holder in gate.holders],
            }
            for gate in found.gates
        ],
    }


def show(facts: Facts, found: Answer) -> None:
    """The same for people: one sentence, then the gates."""
    out = console()
    out.print(Text(printable(found.summary), style="bold"))
    out.print()
    out.print(Text(printable(f"{facts.job.call} in {facts.job.channel}, database {facts.database}")))
    out.print(table_of(found.gates))


def table_of(gates: Sequence[Gate]) -> Table:
    """A line for each gate; what it says folds."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("gate", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("why", overflow="fold")
    for gate in gates:
        word, style = _WORDS[gate.verdict]
        if gate.name == "state":
            word, style = "", ""
        table.add_row(gate.name, Text(word, style=style), Text(printable(gate.says)))
    return table
