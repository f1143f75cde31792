"""The heads of one database by stored channel, as many as it has channels with rows and some more.

Notifications name channels, and any role may notify. A channel that is named gets a head, which is read; heads that
turn out to be empty are forgotten when there are many of them. When there is no room for another head, its channel is
found by the next look at all channels.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import psycopg2

from queuejobs.shared.job_key import LEAST, Key
from queuemaster.channels import Head

from . import statements

SPARE = 5000  # heads beyond those of channels in which rows were found
READS_A_TURN = 4  # rounds: when a read from a bound finds nothing, the head is read again without a bound


class HeadTable(dict[str, Head]):
    """Heads by stored channel."""

    def __init__(self) -> None:
        super().__init__()
        self._room = SPARE
        self.overflowed = False  # a channel was named that had no room: look at all channels

    def of(self, channel: str) -> Head:
        """The head of a channel that has rows."""
        return self.setdefault(channel, Head())

    def noticed(self, channel: str, key: Key | None) -> None:
        """A notification named a channel, perhaps with the least key that became ready."""
        if channel not in self and len(self) >= self._room and not self.overflowed:
            self._forget_empty()
        if channel not in self and len(self) >= self._room:
            self.overflowed = True
        else:
            self.of(channel).noticed(key)

    def keep(self, channels: Collection[str]) -> None:
        """These are all the channels with rows. Every head is to be read again; grants that are out keep theirs."""
        for channel in channels:
            self.of(channel)
        with_rows = set(channels)
        for channel, head in list(self.items()):
            head.noticed(None)
            if channel not in with_rows and not head.granted and not head.slices:
                del self[channel]
        self._room = len(self) + SPARE
        self.overflowed = False

    def forget(self) -> None:
        """Forget all heads."""
        self.clear()
        self._room = SPARE
        self.overflowed = False

    def blockers_changed(self, is_sequential: Callable[[str], bool]) -> None:
        """A job that blocks a sequential channel may have come or gone."""
        for channel, head in self.items():
            if is_sequential(channel):
                head.ended()

    def has_dirty(self) -> bool:
        """Whether a head is to be read."""
        return any(head.dirty for head in self.values())

    def read(self, cursor: Any, is_sequential: Callable[[str], bool]) -> bool:
        """Read the heads that are dirty; true if there was any. Raises psycopg2.Error."""
        dirty = {channel: head for channel, head in self.items() if head.dirty}
        if not dirty:
            return False
        for head in dirty.values():
            head.asking()
        try:
            wanted = [
                statements.Wanted(channel, head.bound or LEAST, head.rows_to_read)
                for channel, head in dirty.items()
            ]
            depth = {window.channel: window.depth for window in wanted}
            ready = statements.heads(cursor, wanted)
            sequential = [channel for channel in dirty if is_sequential(channel)]
            blockers = statements.blockers(cursor, sequential) if sequential else {}
        except psycopg2.Error:
            for head in dirty.values():
                head.unanswered()
            raise
        for channel, head in dirty.items():
            keys = ready[channel]
            head.read(keys, len(keys) == depth[channel], *blockers.get(channel, (None, False)))
        if len(self) >= self._room:
            self._forget_empty()
        return True

    def _forget_empty(self) -> None:
        for channel in [channel for channel, head in self.items() if head.is_empty()]:
            del self[channel]
