"""Remove old finished jobs, a batch at a time, so that nobody who waits for a start notices."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import psycopg2

from queuejobs.shared.log import event
from queuejobs.store.retention import BATCH, FAILED, FINISHED, START, PurgeCursor, channels, purge
from queuemaster.channels import Tree
from queuemaster.config.compiled import Settings

_log = logging.getLogger("queuemaster.dispatcher")
CHECK = 300.0  # seconds between two rounds
PAUSE = 1.0  # seconds between two turns of one
CALL = 20  # what a batch costs beside the jobs that it looks at, in such jobs
STATES = (*FINISHED, FAILED)


class Ages:
    """After how long jobs go, by the channels as configured."""

    def __init__(self, settings: Settings) -> None:
        self._tree = Tree(settings.channels)
        self._settings = settings
        names = self._tree.names
        # what is kept for ever in all channels is not even looked for
        self.states = [state for state in STATES if any(self.age(state, name) is not None for name in names)]

    def age(self, state: str, stored: str) -> float | None:
        """Seconds that a job of a stored channel is kept after it ended in a state; None: for ever."""
        option = "failed_retention" if state == FAILED else "retention"
        by_channel: float | None = self._tree.inherited(self._tree.resolve(stored), option)
        default: float = getattr(self._settings, option)
        return (default if by_channel is None else by_channel) or None


class Due(NamedTuple):
    """Jobs of a stored channel that may go: they ended in a state more than so many seconds ago."""

    state: str
    channel: str
    seconds: float


Age = Callable[[str, str], float | None]


def due(cursor: Callable[[], Any], states: list[str], age: Age) -> Iterator[Due | int]:
    """All that are due in a database; in between the number of channels that were looked at for it."""
    for state in states:
        after = ""
        while found := channels(cursor(), state, after):
            yield len(found)
            for each in found:
                seconds = age(state, each.channel)
                if seconds is not None and seconds < each.oldest:
                    yield Due(state, each.channel, seconds)
            after = found[-1].channel


class Retention:
    """Where the rounds through one database stand. The leader's."""

    def __init__(self, name: str, ages: Ages) -> None:
        self._name = name
        self._ages = ages
        self._cursor: Any = None  # of this turn: a session that is lost is replaced
        self._round: Iterator[int] | None = None
        self._removed = 0

    def work(self, cursor: Any) -> float:
        """A turn of a round; seconds until this is to be called again."""
        self._cursor = cursor
        if self._round is None:
            self._round, self._removed = self._steps(), 0
        cost = 0
        try:
            for step in self._round:
                cost += step
                if cost >= BATCH:
                    return PAUSE
        except psycopg2.Error:
            self._round = None
            raise
        self._round = None
        if self._removed:
            event(_log, logging.INFO, "old jobs removed", db=self._name, jobs=self._removed)
        return CHECK

    def _steps(self) -> Iterator[int]:
        """A round; after each step what it cost, in jobs or channels that were looked at."""
        for each in due(lambda: self._cursor, self._ages.states, self._ages.age):
            if isinstance(each, int):
                yield each
                continue
            place: PurgeCursor | None = START
            while place is not None:
                try:
                    batch = purge(self._cursor, *each, place)
                except psycopg2.Error as error:
                    if self._cursor.connection.closed:
                        raise
                    # such as a table of the application that refers to jobs: no reason to stop leading
                    event(
                        _log, logging.WARNING, "old jobs cannot be removed",
                        db=self._name, state=each.state, channel=each.channel, error=str(error).strip(),
                    )  # fmt: skip
                    break
                self._removed += batch.removed
                place = batch.next
                yield batch.looked_at + CALL
