"""``queuemaster jobs``: look at what is in the queues. What changes jobs is in ``actions`` and ``purge``."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import click
import psycopg2
from psycopg2.extensions import connection as Connection
from rich.table import Table
from rich.text import Text

from queuejobs.store.jobs import BY_UUID, COLUMNS, STATES
from queuemaster.channels.parse import complete_name
from queuemaster.cli.commands.job_actions import cancel, done, requeue
from queuemaster.cli.commands.jobs_purge import purge
from queuemaster.cli.databases import opened, require_schema, server_message
from queuemaster.cli.flags import compiled, configured, databases_option
from queuemaster.cli.output import Commands, Failure, console, note, print_json, printable, warn
from queuemaster.cli.statements import LIST
from queuemaster.cli.targets import asked
from queuemaster.config.compiled import DatabaseConfig
from queuemaster.config.dsn import describe

DOCUMENTS = ("records", "args", "kwargs")  # JSON columns, read as text
# (heading, least width of the terminal that has room for it)
COLUMNS_SHOWN = (("uuid", 0), ("state", 0), ("channel", 72), ("try", 92), ("created (UTC)", 112), ("job", 64))


@click.group(cls=Commands)
def jobs() -> None:
    """Look at and change the jobs of the databases named or configured.

    None named: those of the supervisor that runs here, else the embedded PostgreSQL.
    """


for _command in (requeue, cancel, done, purge):
    jobs.add_command(_command)


@jobs.command("list")
@databases_option
@configured
@click.option("--state", type=click.Choice(STATES), help="Only jobs in this state.")
@click.option("--channel", help="Only jobs of this channel and those below it.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def list_(
    file: Path | None,
    assignments: tuple[str, ...],
    database: tuple[str, ...],
    state: str | None,
    channel: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """The newest jobs first, from each database."""
    configuration = compiled(file, assignments, {"database": database})
    warn(configuration.warnings)
    # one more than asked for tells whether there are more
    filters = {"state": state, "channel": complete_name(channel) if channel else None, "limit": limit + 1}
    found: list[dict[str, Any]] = []
    cut = []
    with asked(configuration) as databases:
        for each in databases:
            rows = _read(each, LIST, filters)
            found.extend({"database": each.name, **row} for row in rows[:limit])
            if len(rows) > limit:
                cut.append(each.name)
    if as_json:
        print_json({"jobs": found, "more": bool(cut)})
        return
    out = console()
    out.print(table_of(found, out.width))
    if cut:
        note(f"only the newest {limit} of {', '.join(cut)} are shown; more with --limit")


@jobs.command()
@click.argument("uuid")
@databases_option
@configured
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def show(
    uuid: str, file: Path | None, assignments: tuple[str, ...], database: tuple[str, ...], as_json: bool
) -> None:
    """Everything that is known of one job."""
    configuration = compiled(file, assignments, {"database": database})
    warn(configuration.warnings)
    with asked(configuration) as databases:
        for each in databases:
            for row in _read(each, BY_UUID, ([uuid],)):
                _show({"database": each.name, **row}, as_json)
                return
    where = ", ".join(describe(each) for each in databases)
    raise Failure(f"no job has the uuid {uuid} in {where}")


def _show(job: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(job)
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name in ("database", *COLUMNS):
        value = job[name]
        if value is not None:
            shown = json.dumps(value, ensure_ascii=False) if name in DOCUMENTS else value
            table.add_row(name, Text(printable(shown)))
    console().print(table)


def _read(database: DatabaseConfig, statement: str, parameters: Any) -> list[dict[str, Any]]:
    """The rows as JSON values; times are UTC and say so."""
    with opened(database) as connection:
        require_schema(database, connection)
        try:
            return _rows(connection, statement, parameters)
        except psycopg2.Error as error:
            raise Failure(f"database {describe(database)}: {server_message(error)}") from error


def _rows(connection: Connection, statement: str, parameters: Any) -> list[dict[str, Any]]:
    connection.set_session(readonly=True)
    with connection, connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        names = [column.name for column in cursor.description or ()]
        return [{n: _plain(n, v) for n, v in zip(names, row, strict=True)} for row in cursor.fetchall()]


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, datetime.datetime):
        return f"{value.isoformat(timespec='microseconds')}Z"
    return json.loads(value) if name in DOCUMENTS else value


def table_of(found: list[dict[str, Any]], width: int) -> Table:
    """As many columns as the terminal has room for; uuid and state always."""
    columns = [heading for heading, least in COLUMNS_SHOWN if width >= least]
    if len({job["database"] for job in found}) > 1:
        columns.insert(0, "database")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in columns:
        fixed = heading in ("uuid", "state", "try")
        # a uuid that is cut is of no use: it folds where even that has no room
        table.add_column(heading, no_wrap=heading != "uuid", overflow="fold" if fixed else "ellipsis")
    for job in found:
        cells = {
            **job,
            "try": f"{job['retry']}/{job['max_retries'] or '∞'}",
            "created (UTC)": job["date_created"][:19].replace("T", " "),
            "job": (job["name"] or job["method"]).partition("\n")[0],
        }
        table.add_row(*(Text(printable(cells[heading])) for heading in columns))
    return table
