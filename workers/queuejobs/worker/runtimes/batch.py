"""Several jobs in one transaction: a channel's key ``batch``.

The first is claimed like any job, and its start is committed. The others are started and finished inside the
transaction of the first: if the session ends before the commit, they are as they were.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Optional, Tuple

from ...store.claims import begin_member, end_member

Row = Dict[str, Any]
LONGEST = 1.0  # seconds after which no job joins: other channels want the slot, the first job's effects are unseen yet


class BatchBrokenError(Exception):
    """The transaction of several jobs was rolled back. No job is charged: which one broke it is unknown."""


class Batch:
    """The jobs that follow the first one."""

    def __init__(self, size: int) -> None:
        self._size = size  # with the first
        self._under_way = False
        self.began = 0.0  # when the first was done, monotonic
        self.done: List[Tuple[Row, float]] = []  # each with its seconds

    @property
    def others(self) -> bool:
        """Whether the transaction may hold, or suffer from, more than the first job."""
        return self._under_way or bool(self.done)

    def go_on(
        self,
        cursor: Any,
        first: Row,
        take: Callable[[Row], Optional[Row]],
        perform: Callable[[Row], Optional[bool]],
        leave: Callable[[Row], None],
        stop: Callable[[], bool],
    ) -> None:
        """Add jobs until the batch is full, none is ready, or one does not join: that one is rolled back and runs next.

        ``perform`` returns whether a job joined, None if it was not tried; ``leave`` gets the row of one that did not.
        """
        before, self.began = first, time.monotonic()
        while len(self.done) + 1 < self._size and not stop() and time.monotonic() < self.began + LONGEST:
            self._under_way = True
            begin_member(cursor)
            started = time.monotonic()
            row = take(before)
            joined = None if row is None else perform(row)
            end_member(cursor, keep=bool(joined))
            if row is not None and joined is False:
                leave(row)
            self._under_way = False
            if row is None or not joined:
                return
            self.done.append((row, time.monotonic() - started))
            before = row
