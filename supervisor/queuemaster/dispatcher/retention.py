"""Remove old finished jobs, a batch at a time, so that jobs that are ready need not wait for it."""

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
PAUSE = 1.0  # seconds between two turns of a round
CALL = 20  # fixed cost of a batch, in rows
STATES = (*FINISHED, FAILED)


class Ages:
    """After how long jobs are removed, by the channels as configured."""

    def __init__(self, settings: Settings) -> None:
        self._tree = Tree(settings.channels)
        self._settings = settings
        names = self._tree.names
        # a state in which all channels keep their jobs for ever is not looked for
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
    """The jobs of a database that may go, by state and channel; an int is a number of channels that were looked at.

    ``states``: to look for; ``age``: seconds that a job is kept, by state and stored channel, None: for ever. Raises
    psycopg2.Error.
    """
    for state in states:
        after = ""
        while page := channels(cursor(), state, after):
            yield len(page)
            for ended in page:
                seconds = age(state, ended.channel)
                if seconds is not None and seconds < ended.oldest:
                    yield Due(state, ended.channel, seconds)
            after = page[-1].channel


class Retention:
    """The rounds through one database that we lead: a round goes on where the last turn stopped."""

    def __init__(self, name: str, ages: Ages) -> None:
        self._name = name
        self._ages = ages
        self._cursor: Any = None  # of this turn: a round outlives the session in which it began
        self._round: Iterator[int] | None = None
        self._removed = 0

    def work(self, cursor: Any) -> float:
        """Do a turn of a round; the seconds until the next turn. Raises psycopg2.Error."""
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
        """One round; yields the cost of each step, in jobs or channels that were looked at."""
        for old in due(lambda: self._cursor, self._ages.states, self._ages.age):
            if isinstance(old, int):
                yield old
                continue
            place: PurgeCursor | None = START
            while place is not None:
                try:
                    batch = purge(self._cursor, *old, place)
                except psycopg2.Error as error:
                    if self._cursor.connection.closed:
                        raise
                    # for instance a table of the application refers to the jobs: no reason to stop leading
                    event(
                        _log, logging.WARNING, "old jobs cannot be removed",
                        db=self._name, state=old.state, channel=old.channel, error=str(error).strip(),
                    )  # fmt: skip
                    break
                self._removed += batch.removed
                place = batch.next
                yield batch.looked_at + CALL
