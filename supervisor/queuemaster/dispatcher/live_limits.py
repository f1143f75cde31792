"""Live limits in the dispatcher: the rows of each database that we lead override the configuration.

They are read before the first grant of a leadership, at every notification of a change, and as often as the poll.
When a database is lost its limits stay in force until another leader is seen there: a broken connection must not lift
a pause.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from typing import Any

from queuejobs.shared.log import event
from queuemaster.channels import Override, Tree, overridden
from queuemaster.channels.channel import ChannelConfig
from queuemaster.channels.keys import read_rate, show_rate
from queuemaster.channels.parse import complete_name

from . import statements

_log = logging.getLogger("queuemaster.dispatcher")


def read(cursor: Any) -> tuple[Override, ...]:
    """The rows of one database; a rate that cannot be read is ignored. Raises psycopg2.Error."""
    overrides = []
    for channel, capacity, rate, paused in statements.controls(cursor):
        try:
            limit = None if rate is None else read_rate(rate)
        except ValueError as error:
            event(_log, logging.WARNING, "live rate ignored", channel=channel, rate=rate, error=str(error))
            limit = None
        overrides.append(Override(complete_name(channel), capacity, limit, paused))
    return tuple(overrides)


class LiveLimits:
    """The configured channels, the live limits of each database, and the tree that results."""

    def __init__(self, configured: Iterable[ChannelConfig]) -> None:
        self._configured = tuple(configured)
        self._overrides: dict[int, tuple[Override, ...]] = {}  # by database
        self._root_change = 0  # by signals
        self.tree = Tree(self._configured)

    def configure(self, configured: Iterable[ChannelConfig], databases: Iterable[int]) -> None:
        """Another configuration. Live limits stay in force, changes of root by signals end."""
        self._configured = tuple(configured)
        self._overrides = {number: self._overrides.get(number, ()) for number in databases}
        self._root_change = 0
        self.tree = self._overridden()

    def change_root(self, change: int) -> None:
        """Give root so many slots more (or fewer) than configured, at least one."""
        self._root_change = change
        self.tree = self._overridden()

    def _overridden(self) -> Tree:
        root, *others = self._configured
        if root.capacity:
            root = replace(root, capacity=max(root.capacity + self._root_change, 1))
        return Tree(overridden((root, *others), list(chain.from_iterable(self._overrides.values()))))

    def change(self, database: int, name: str, overrides: tuple[Override, ...]) -> bool:
        """Replace the live limits of one database; true if that changed the tree."""
        if self._overrides.get(database, ()) == overrides:
            return False
        self._overrides[database] = overrides
        for override in overrides:
            if override.channel not in self.tree:
                event(
                    _log, logging.WARNING, "live limits of a channel that is not configured have no effect",
                    db=name, channel=override.channel,
                )  # fmt: skip
        before = self.tree
        self.tree = self._overridden()
        for channel in self.tree:
            if channel != before[channel.name]:
                event(
                    _log, logging.INFO, "limits changed live", db=name, channel=channel.name,
                    capacity="unlimited" if channel.capacity is None else channel.capacity,
                    rate=show_rate(channel.rate), paused=channel.paused,
                )  # fmt: skip
        return tuple(before) != tuple(self.tree)
