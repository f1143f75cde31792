"""``queuemaster why``: what keeps a job from running."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
import psycopg2
from psycopg2.extensions import connection as Connection
from rich.table import Table
from rich.text import Text

from queuejobs.store import oca, schema
from queuemaster.channels import Override
from queuemaster.cli.databases import databases_with_queue, opened, server_message
from queuemaster.cli.flags import channels_option, compiled, configured, databases_option, pidfile_option
from queuemaster.cli.output import Failure, Refusal, console, note, print_json, printable, warn
from queuemaster.cli.pidfile import pidfile_of
from queuemaster.cli.statements import HAS_JOB
from queuemaster.cli.supervisor import Supervisor, running_supervisor
from queuemaster.cli.targets import known_tree, served_or_configured
from queuemaster.config.compiled import DatabaseConfig
from queuemaster.config.dsn import describe
from queuemaster.config.sources import Compiled
from queuemaster.dispatcher import live_limits
from queuemaster.why import reading
from queuemaster.why.answer import Answer, answer
from queuemaster.why.facts import Facts, OtherJob, Pool
from queuemaster.why.gates import Channels, Gate, Verdict

_VERDICTS = {
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
    """Why is this job not running? Each gate in turn, open or shut, and the jobs that hold it shut.

    Nothing is changed. Databases and channels are those that are named or configured, else those of the
    supervisor that runs here (by its pid file), else the embedded PostgreSQL.

    Exit codes: 0 there is an answer; 1 no such job; 2 usage or configuration error, or no database to ask.
    """
    flags = {"channels": channels, "database": database, "pidfile": pidfile}
    configuration = compiled(file, assignments, flags)
    warn(configuration.warnings)
    supervisor = running_supervisor(pidfile_of(configuration))
    named = configuration.settings.databases
    with served_or_configured(configuration, None if named else supervisor) as databases:
        facts, reason = _explain(uuid, databases, configuration, supervisor)
    if as_json:
        print_json(document(facts, reason))
    else:
        show(facts, reason)


@dataclass
class _Database:
    """A database that answers."""

    config: DatabaseConfig
    connection: Connection
    schema_problem: str
    overrides: tuple[Override, ...] = ()


def _explain(
    uuid: str, configs: Sequence[DatabaseConfig], configuration: Compiled, supervisor: Supervisor | None
) -> tuple[Facts, Answer]:
    """Find the job, read what concerns it, and answer. Raises Failure when no database has the job."""
    with contextlib.ExitStack() as stack:
        databases, problems = _open_all(stack, configs)
        home = next((database for database in databases if _has(database, uuid)), None)
        if home is None:
            raise _not_found(uuid, databases, problems)
        for problem in problems:
            note(problem)
        if supervisor is not None and not supervisor.serves(home.config):
            supervisor = None
        if supervisor is not None:  # jobs of all its databases take slots of the same channels
            known = {database.config.dsn for database in databases}
            others = [
                config for config in databases_with_queue(supervisor.settings) if config.dsn not in known
            ]
            more, problems = _open_all(stack, others)
            databases += more
            for problem in problems:
                note(problem)
        tree = known_tree(configuration, supervisor)
        overrides = {database.config.name: database.overrides for database in databases}
        channels = None if tree is None else Channels(tree, overrides)
        facts = _read(home, uuid, channels)
        elsewhere = tuple(job for database in databases if database is not home for job in _running(database))
        facts = replace(facts, running=facts.running + elsewhere, pools=_pools(supervisor))
        return facts, answer(facts, channels)


def _open_all(
    stack: contextlib.ExitStack, configs: Sequence[DatabaseConfig]
) -> tuple[list[_Database], list[str]]:
    """The databases that answer, and what is wrong with the others."""
    databases: list[_Database] = []
    problems: list[str] = []
    for config in configs:
        try:
            connection = stack.enter_context(opened(config))
            problem = _schema_problem(connection)
            connection.autocommit = True
            with connection.cursor() as cursor:
                if reading.prepare(cursor):
                    databases.append(_Database(config, connection, problem, live_limits.read(cursor)))
                else:
                    problems.append(f"database {describe(config)}: {problem}")
        except Refusal as refusal:
            problems.append(refusal.message)
        except psycopg2.Error as error:
            problems.append(f"database {describe(config)}: {server_message(error)}")
    return databases, problems


def _schema_problem(connection: Connection) -> str:
    """Why a supervisor of this version would refuse the database, which can still be read; empty: it would not."""
    try:
        with connection, connection.cursor() as cursor:
            if oca.is_installed(cursor):
                return oca.newer(cursor)
        schema.require_current(connection)
    except schema.SchemaError as error:
        return str(error)
    return ""


def _not_found(uuid: str, databases: Sequence[_Database], problems: Sequence[str]) -> Failure:
    if not databases:
        return Refusal("\n".join(problems))
    where = ", ".join(describe(database.config) for database in databases)
    return Failure("\n".join([f"no job has the uuid {uuid} in {where}", *problems]))


def _has(database: _Database, uuid: str) -> bool:
    with database.connection.cursor() as cursor:
        cursor.execute(HAS_JOB, (uuid,))
        row = cursor.fetchone()
    return row is not None and bool(row[0])


def _read(database: _Database, uuid: str, channels: Channels | None) -> Facts:
    tree = None if channels is None else channels.tree
    try:
        with database.connection.cursor() as cursor:
            facts = reading.read(cursor, database.config.name, uuid, tree, database.schema_problem)
    except psycopg2.Error as error:
        raise Failure(f"database {describe(database.config)}: {server_message(error)}") from error
    if facts is None:
        raise Failure(f"the job {uuid} is gone from {describe(database.config)}")
    return facts


def _running(database: _Database) -> tuple[OtherJob, ...]:
    with database.connection.cursor() as cursor:
        return reading.running(cursor, database.config.name)


def _pools(supervisor: Supervisor | None) -> dict[str, Pool] | None:
    status = None if supervisor is None else supervisor.board.master.read()
    if status is None:
        return None
    return {
        channel: Pool(pool["target"], pool["alive"], pool["backoff_seconds"])
        for channel, pool in status["pools"].items()
    }


def document(facts: Facts, reason: Answer) -> dict[str, Any]:
    """The answer of ``--json``; ages and waits are seconds."""
    return {
        "uuid": facts.job.uuid,
        "database": facts.database,
        "call": facts.job.call,
        "channel": facts.job.channel,
        "state": facts.job.state,
        "waits": reason.waits,
        "summary": reason.summary,
        "gates": [
            {
                "gate": gate.name,
                "verdict": gate.verdict.value,
                "says": gate.says,
                "holders": [asdict(holder) for holder in gate.holders],
            }
            for gate in reason.gates
        ],
    }


def show(facts: Facts, reason: Answer) -> None:
    """Print the answer for people: one sentence, then the gates."""
    out = console()
    out.print(Text(printable(reason.summary), style="bold"))
    out.print()
    out.print(Text(printable(f"{facts.job.call} in {facts.job.channel}, database {facts.database}")))
    out.print(table_of(reason.gates))


def table_of(gates: Sequence[Gate]) -> Table:
    """A line for each gate; its reason folds."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("gate", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("why", overflow="fold")
    for gate in gates:
        word, style = _VERDICTS[gate.verdict]
        if gate.name == "state":
            word, style = "", ""
        table.add_row(gate.name, Text(word, style=style), Text(printable(gate.says)))
    return table
