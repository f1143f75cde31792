"""Limits that were changed live, as the commands show them: configured, in each database, and in force."""

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
from queuemaster.cli.statements import IS_ODOO_WITHOUT_US
from queuemaster.config.compiled import DatabaseConfig
from queuemaster.config.dsn import describe
from queuemaster.dispatcher import live_limits

PATIENCE = 3  # seconds, for a database that only adds to what is shown


class LiveLimits:
    """The configured tree, the overrides of each database, and the tree that is in force."""

    def __init__(
        self, channels: Iterable[ChannelConfig], overrides: Mapping[str, tuple[Override, ...]]
    ) -> None:
        self.configured = Tree(channels)
        self.overrides = overrides
        every = [override for of_database in overrides.values() for override in of_database]
        self.tree = Tree(overridden(self.configured, every))
        self.changed = frozenset(override.channel for override in every)

    def of_channel(self, channel: str) -> dict[str, Override]:
        """The overrides of this channel, by database; a database without one is left out."""
        return {
            database: override
            for database, overrides in self.overrides.items()
            for override in overrides
            if override.channel == channel
        }


def read_overrides(databases: Iterable[DatabaseConfig]) -> dict[str, tuple[Override, ...]]:
    """The overrides of the databases that answer; of each other one a note says why not."""
    overrides = {}
    for database in databases:
        try:
            overrides[database.name] = _read(database)
        except psycopg2.Error as error:
            note(f"live limits of database {describe(database)} are not shown: {server_message(error)}")
    return overrides


def _read(database: DatabaseConfig) -> tuple[Override, ...]:
    connection = connect(database.dsn, "queuemaster command", connect_timeout=PATIENCE)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(IS_ODOO_WITHOUT_US)
            if cursor.fetchone() == (True,):
                return ()
            return live_limits.read(cursor)
    finally:
        connection.close()


def limits_document(tree: Tree, channel: str) -> dict[str, Any]:
    """A channel's own limits, and its capacity within the channels above. Rates are starts a second, 0: any."""
    own = tree[channel]
    return {
        "capacity": own.capacity,
        "rate": own.rate,
        "paused": own.paused,
        "effective": tree.effective(channel),
    }


def limit_words(tree: Tree, channel: str) -> list[str]:
    """A channel's own limits, for people."""
    own = tree[channel]
    words = ["unlimited" if own.capacity is None else f"capacity {own.capacity}"]
    if own.rate:
        words.append(f"rate {show_rate(own.rate)}")
    if own.paused:
        words.append("paused")
    return words


def override_words(override: Override) -> list[str]:
    """The limits that an override sets, for people; one that it lifts is named too."""
    words = []
    if override.capacity is not None:
        words.append(f"capacity {override.capacity}")
    if override.rate is not None:
        words.append(f"rate {show_rate(override.rate)}")
    if override.paused is not None:
        words.append("paused" if override.paused else "resumed")
    return words
