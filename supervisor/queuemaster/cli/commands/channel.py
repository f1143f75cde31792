"""``queuemaster channel``: limits that are changed live, in the database."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import click
import psycopg2
from psycopg2.extensions import connection as Connection
from rich.table import Table
from rich.text import Text

from queuemaster.channels import Override, Tree
from queuemaster.channels.channel import ChannelConfig
from queuemaster.channels.keys import KEYS, read_rate
from queuemaster.channels.parse import ROOT, complete_name
from queuemaster.cli.databases import opened, require_schema, server_message
from queuemaster.cli.flags import channels_option, compiled, configured, databases_option
from queuemaster.cli.live_limits import Live, limits, words_of, words_of_override
from queuemaster.cli.output import Failure, Refusal, console, note, print_json, printable, warn
from queuemaster.cli.statements import CHANGE_LIMITS, CLEAR_LIMITS
from queuemaster.cli.targets import asked, supervisor_here
from queuemaster.config.compiled import DatabaseConfig
from queuemaster.config.dsn import describe
from queuemaster.config.sources import Compiled
from queuemaster.dispatcher import live_limits

MOST = 2**31 - 1  # what the column holds


@click.command()
@click.argument("name", required=False)
@click.option(
    "--capacity",
    metavar="N",
    type=click.IntRange(0, MOST),
    help="At most N jobs at a time, here and below. 0: none starts.",
)
@click.option("--rate", metavar="R", help="At most so many starts: 5/s, 30/m, 100/h. off: as many as come.")
@click.option("--pause/--resume", "paused", default=None, help="Let nothing start; let it start again.")
@click.option("--clear", is_flag=True, help="Go back to what is configured, before any other change.")
@channels_option
@databases_option
@configured
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def channel(
    name: str | None,
    capacity: int | None,
    rate: str | None,
    paused: bool | None,
    clear: bool,
    channels: str | None,
    database: tuple[str, ...],
    file: Path | None,
    assignments: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show the channels, or one; with options, change the limits of one live.

    A change is kept in every database that is named or configured (else in those of the supervisor that runs
    here, else in the embedded PostgreSQL), counts at once, and overrides the configuration until it is cleared,
    also after a restart. Jobs that run are never ended by it: a channel that shrinks or pauses starts nothing
    until enough of them are over.

    A supervisor that serves several databases has one tree: of what they say of a channel the smallest capacity,
    the smallest rate and any pause count, for the jobs of all of them.

    Exit codes: 0 fine; 1 failed; 2 usage or configuration error, or a database that cannot be used.
    """
    wanted = None if name is None else complete_name(name)
    change = _change_of(wanted, capacity, rate, paused)
    configuration = compiled(file, assignments, {"channels": channels, "database": database})
    warn(configuration.warnings)
    tree = _known_tree(configuration)
    if wanted is not None and tree is not None and wanted not in tree:
        warn([_unknown(wanted, tree)])
    if clear and wanted is None:
        raise Refusal("--clear: which channel? For instance: queuemaster channel root.mail --clear")
    with asked(configuration) as databases:
        overrides = _work(databases, wanted, clear, change)
    _show(tree, overrides, wanted, as_json)


def _change_of(
    wanted: str | None, capacity: int | None, rate: str | None, paused: bool | None
) -> dict[str, Any] | None:
    """The row to write, None when nothing is to be changed. Raises Refusal."""
    if capacity is None and rate is None and paused is None:
        return None
    if wanted is None:
        raise Refusal("a change of which channel? For instance: queuemaster channel root.mail --pause")
    if rate is not None:
        try:
            read_rate(rate.strip())
        except ValueError as error:
            raise Refusal(
                f"option --rate = {rate!r} {error}; expected: {KEYS['rate'].example}, or off"
            ) from error
    return {"channel": wanted, "capacity": capacity, "rate": rate and rate.strip(), "paused": paused}


def _known_tree(configuration: Compiled) -> Tree | None:
    """As named or configured, else as the supervisor that runs here has it; None when nobody can tell."""
    source = next(value.source for value in configuration.values if value.option == "channels")
    if source != "default":
        return Tree(configuration.settings.channels)
    supervisor = supervisor_here(configuration)
    return None if supervisor is None else Tree(supervisor.settings.channels)


def _unknown(wanted: str, tree: Tree) -> str:
    near = difflib.get_close_matches(wanted, tree.names, n=1)
    hint = f"did you mean {near[0]}?" if near and near[0] != ROOT else f"known are {', '.join(tree.names)}"
    return f"channel {wanted} is not configured, so its live limits have no effect; {hint}"


def _work(
    databases: tuple[DatabaseConfig, ...], wanted: str | None, clear: bool, change: dict[str, Any] | None
) -> dict[str, tuple[Override, ...]]:
    """Change all of the databases or, when one cannot be used, none; what they say then."""
    with contextlib.ExitStack() as stack:
        connections = [(each, stack.enter_context(opened(each))) for each in databases]
        for each, connection in connections:
            require_schema(each, connection)
        return {each.name: _write_and_read(each, c, wanted, clear, change) for each, c in connections}


def _write_and_read(
    database: DatabaseConfig,
    connection: Connection,
    wanted: str | None,
    clear: bool,
    change: dict[str, Any] | None,
) -> tuple[Override, ...]:
    try:
        with connection, connection.cursor() as cursor:
            if clear and wanted is not None:
                cursor.execute(CLEAR_LIMITS, {"channel": wanted, "short": wanted.partition(".")[2]})
            if change is not None:
                cursor.execute(CHANGE_LIMITS, change)
            return live_limits.read(cursor)
    except psycopg2.Error as error:
        raise Failure(f"database {describe(database)}: {server_message(error)}") from error


def _show(
    tree: Tree | None, overrides: dict[str, tuple[Override, ...]], wanted: str | None, as_json: bool
) -> None:
    known = () if tree is None else tree.names
    live = Live(tree or (ChannelConfig(ROOT),), overrides)
    said = {one.channel for every in overrides.values() for one in every}
    names = [wanted] if wanted is not None else [*known, *sorted(said.difference(known))]
    if as_json:
        print_json({"channels": [document(live, name, name in known) for name in names]})
        return
    if tree is None:
        note("which channels are configured is not known here (option channels): only live limits are shown")
    console().print(table_of(live, names, known))


def document(live: Live, name: str, known: bool) -> dict[str, Any]:
    """One channel of ``--json``. What is not configured, or not known here, is null; rates are starts a second."""
    return {
        "name": name,
        "configured": limits(live.configured, name) if known else None,
        "overrides": {
            database: {"capacity": one.capacity, "rate": one.rate, "paused": one.paused}
            for database, one in live.of(name).items()
        },
        "effective": _effective(live.tree, name) if known else None,
    }


def _effective(tree: Tree, name: str) -> dict[str, Any]:
    """With what those above say too."""
    return {"capacity": tree.effective(name), "rate": tree.rate(name), "paused": tree.paused(name)}


def table_of(live: Live, names: list[str], known: Collection[str]) -> Table:
    """The same for people."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("channel", "configured", "live", "effective"):
        table.add_column(heading, overflow="fold")
    for name in names:
        changes = live.of(name)
        said = [
            f"{database}: {words}" if len(live.overrides) > 1 else words
            for database, one in changes.items()
            if (words := ", ".join(words_of_override(one)))
        ]
        configured, effective = "?", "?"
        if name in known:
            now = _effective(live.tree, name)
            configured = ", ".join(words_of(live.configured, name))
            effective = ", ".join(words_of_override(Override(name, now["capacity"], now["rate"] or None)))
            effective += ", paused" if now["paused"] else ""
        table.add_row(
            *(Text(printable(cell)) for cell in (name, configured, "; ".join(said) or "-", effective))
        )
    return table
