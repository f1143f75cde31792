"""``queuemaster channel``: show limits, and change them live, in the database."""

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
from queuemaster.cli.live_limits import LiveLimits, limit_words, limits_document, override_words
from queuemaster.cli.output import Failure, Refusal, console, note, print_json, printable, warn
from queuemaster.cli.statements import CHANGE_LIMITS, CLEAR_LIMITS
from queuemaster.cli.targets import known_tree, supervisor_here, target_databases
from queuemaster.config.compiled import DatabaseConfig
from queuemaster.config.dsn import describe
from queuemaster.dispatcher import live_limits

LARGEST_CAPACITY = 2**31 - 1  # that the column holds


@click.command()
@click.argument("name", required=False)
@click.option(
    "--capacity",
    metavar="N",
    type=click.IntRange(0, LARGEST_CAPACITY),
    help="At most N jobs at a time, here and below. 0: none starts.",
)
@click.option("--rate", metavar="R", help="At most so many starts: 5/s, 30/m, 100/h. off: no limit.")
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
    here, else in the embedded PostgreSQL), takes effect at once, and overrides the configuration until it is
    cleared, also after a restart. It never ends running jobs: a channel that shrinks or pauses starts nothing
    until enough of them have ended.

    A supervisor that serves several databases has one tree. When they differ about a channel, the smallest
    capacity, the smallest rate and any pause hold, for the jobs of all databases.

    Exit codes: 0 fine; 1 failed; 2 usage or configuration error, or a database that cannot be used.
    """
    channel_name = None if name is None else complete_name(name)
    change = _change_of(channel_name, capacity, rate, paused)
    configuration = compiled(file, assignments, {"channels": channels, "database": database})
    warn(configuration.warnings)
    tree = known_tree(configuration, supervisor_here(configuration))
    if channel_name is not None and tree is not None and channel_name not in tree:
        warn([_unknown(channel_name, tree)])
    if clear and channel_name is None:
        raise Refusal("--clear: which channel? For instance: queuemaster channel root.mail --clear")
    with target_databases(configuration) as databases:
        overrides = _change_all(databases, channel_name, clear, change)
    _show(tree, overrides, channel_name, as_json)


def _change_of(
    name: str | None, capacity: int | None, rate: str | None, paused: bool | None
) -> dict[str, Any] | None:
    """The parameters of the change; None without one. Raises Refusal for a change without a channel, or a bad rate."""
    if capacity is None and rate is None and paused is None:
        return None
    if name is None:
        raise Refusal("a change of which channel? For instance: queuemaster channel root.mail --pause")
    if rate is not None:
        try:
            read_rate(rate.strip())
        except ValueError as error:
            raise Refusal(
                f"option --rate = {rate!r} {error}; expected: {KEYS['rate'].example}, or off"
            ) from error
    return {"channel": name, "capacity": capacity, "rate": rate and rate.strip(), "paused": paused}


def _unknown(name: str, tree: Tree) -> str:
    near = difflib.get_close_matches(name, tree.names, n=1)
    hint = f"did you mean {near[0]}?" if near and near[0] != ROOT else f"known are {', '.join(tree.names)}"
    return f"channel {name} is not configured, so its live limits have no effect; {hint}"


def _change_all(
    databases: tuple[DatabaseConfig, ...], name: str | None, clear: bool, change: dict[str, Any] | None
) -> dict[str, tuple[Override, ...]]:
    """Change all of the databases or, when one cannot be used, none; their overrides afterwards."""
    with contextlib.ExitStack() as stack:
        connections = [(database, stack.enter_context(opened(database))) for database in databases]
        for database, connection in connections:
            require_schema(database, connection)
        return {
            database.name: _change_and_read(database, connection, name, clear, change)
            for database, connection in connections
        }


def _change_and_read(
    database: DatabaseConfig,
    connection: Connection,
    name: str | None,
    clear: bool,
    change: dict[str, Any] | None,
) -> tuple[Override, ...]:
    try:
        with connection, connection.cursor() as cursor:
            if clear and name is not None:
                cursor.execute(CLEAR_LIMITS, {"channel": name, "short": name.partition(".")[2]})
            if change is not None:
                cursor.execute(CHANGE_LIMITS, change)
            return live_limits.read(cursor)
    except psycopg2.Error as error:
        raise Failure(f"database {describe(database)}: {server_message(error)}") from error


def _show(
    tree: Tree | None, overrides: dict[str, tuple[Override, ...]], name: str | None, as_json: bool
) -> None:
    known = () if tree is None else tree.names
    live = LiveLimits(tree or (ChannelConfig(ROOT),), overrides)
    names = [name] if name is not None else [*known, *sorted(live.changed.difference(known))]
    if as_json:
        print_json({"channels": [document(live, name, name in known) for name in names]})
        return
    if tree is None:
        note("which channels are configured is not known here (option channels): only live limits are shown")
    console().print(table_of(live, names, known))


def document(live: LiveLimits, name: str, known: bool) -> dict[str, Any]:
    """One channel of ``--json``; null where a limit is not set or the channel not known. Rates are starts a second."""
    return {
        "name": name,
        "configured": limits_document(live.configured, name) if known else None,
        "overrides": {
            database: {"capacity": override.capacity, "rate": override.rate, "paused": override.paused}
            for database, override in live.of_channel(name).items()
        },
        "effective": _effective(live.tree, name) if known else None,
    }


def _effective(tree: Tree, name: str) -> dict[str, Any]:
    """The limits in force, those of the channels above included."""
    return {"capacity": tree.effective(name), "rate": tree.rate(name), "paused": tree.paused(name)}


def table_of(live: LiveLimits, names: list[str], known: Collection[str]) -> Table:
    """The channels for people. ``known``: those that are configured."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("channel", "configured", "live", "effective"):
        table.add_column(heading, overflow="fold")
    for name in names:
        changes = [
            f"{database}: {words}" if len(live.overrides) > 1 else words
            for database, override in live.of_channel(name).items()
            if (words := ", ".join(override_words(override)))
        ]
        configured, effective = "?", "?"
        if name in known:
            in_force = _effective(live.tree, name)
            configured = ", ".join(limit_words(live.configured, name))
            effective = ", ".join(
                override_words(Override(name, in_force["capacity"], in_force["rate"] or None))
            )
            effective += ", paused" if in_force["paused"] else ""
        table.add_row(
            *(Text(printable(cell)) for cell in (name, configured, "; ".join(changes) or "-", effective))
        )
    return table
