"""What was changed live, as the commands show it: configured, in each database, and what counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import psycopg2

from queuejobs.store.connection import connect
from queuemaster.channels import Override, Tree, overridden
from queuemaster.channels.channel import ChannelConfig
from queuemaster.channels.keys import show_rate
from queuemaster.cli.databases import server_message
from queuemaster.cli.output import note
from queuemaster.config.compiled import DatabaseConfig
from queuemaster.config.dsn import describe
from queuemaster.dispatcher import live_limits

PATIENCE = 3  # seconds, for a database that is only asked what else there is to say


class Live:
    """The configured tree, the overrides of each database, and the tree as it counts."""

    def __init__(
        self, channels: Iterable[ChannelConfig], overrides: Mapping[str, tuple[Override, ...]]
    ) -> None:
        self.configured = Tree(channels)
        self.overrides = overrides
        every = [one for each in overrides.values() for one in each]
        self.tree = Tree(overridden(self.configured, every))
        self._changed = {one.channel for one in every}

    def changed(self, channel: str) -> bool:
        """Whether a database says anything of this channel."""
        return channel in self._changed

    def of(self, channel: str) -> dict[str, Override]:
        """What each database says of it, by database; only those that say something."""
        return {
            name: one for name, every in self.overrides.items() for one in every if one.channel == channel
        }


def reachable(databases: Iterable[DatabaseConfig]) -> dict[str, tuple[Override, ...]]:
    """The overrides of the databases that can be asked; of the others a note says that they cannot."""
    found = {}
    for database in databases:
        try:
            found[database.name] = _ask(database)
        except psycopg2.Error as error:
            note(f"live limits of database {describe(database)} are not shown: {server_message(error)}")
    return found


def _ask(database: DatabaseConfig) -> tuple[Override, ...]:
    connection = connect(database.dsn, "queuemaster command", connect_timeout=PATIENCE)
    try:
        with connection, connection.cursor() as cursor:
            # a database of Odoo's has our schema only once a supervisor has led there
            cursor.execute(
                "select to_regclass('queuemaster.control') is null and to_regclass('queue_job') is not null"
            )
            if cursor.fetchone() == (True,):
                return ()
            return live_limits.read(cursor)
    finally:
        connection.close()


def limits(tree: Tree, channel: str) -> dict[str, Any]:
    """A channel's own limits, and what those above leave of its capacity. Rates are starts a second, 0: any."""
    own = tree[channel]
    return {
        "capacity": own.capacity,
        "rate": own.rate,
        "paused": own.paused,
        "effective": tree.effective(channel),
    }


def words_of(tree: Tree, channel: str) -> list[str]:
    """The same for people."""
    own = tree[channel]
    words = ["unlimited" if own.capacity is None else f"capacity {own.capacity}"]
    if own.rate:
        words.append(f"rate {show_rate(own.rate)}")
    if own.paused:
        words.append("paused")
    return words


def words_of_override(override: Override) -> list[str]:
    """Only what it says; a limit that it lifts is said too."""
    words = []
    if override.capacity is not None:
        words.append(f"capacity {override.capacity}")
    if override.rate is not None:
        words.append(f"rate {show_rate(override.rate)}")
    if override.paused is not None:
        words.append("paused" if override.paused else "resumed")
    return words
