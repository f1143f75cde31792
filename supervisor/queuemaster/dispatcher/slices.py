"""When a worker may go on with the next jobs of its channel without asking, and when it has to stop.

A grant for several jobs spares the way over us between two of them. But who starts next, over all channels, is for us
to say: a slice ends before the first job that another channel would be granted in its stead, and at once when such a
job comes up, or when one comes before the slice's own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from queuemaster.channels import Candidate, Key

JOBS = 64  # at most, so that what is told of them never fills a socket


@dataclass(frozen=True)
class Slice:
    """How far a grant goes."""

    seconds: float
    until: Key | None  # the job of this key, and those behind it, wait for another look

    def message(self) -> dict[str, Any]:
        """For the worker."""
        return {"seconds": self.seconds, "jobs": JOBS, "until": self.until}


class Rivals:
    """Candidates that wait for a slot or a worker, by a channel that is full on their way."""

    def __init__(self, waiting: Iterable[tuple[Candidate, frozenset[str]]]) -> None:
        """Each with all the channels that are full on its way."""
        self._by_channel: dict[str, list[tuple[Candidate, frozenset[str]]]] = {}
        for one, full in sorted(waiting, key=lambda pair: pair[0].key):
            self._by_channel.setdefault(next(iter(full), ""), []).append((one, full))

    def of(self, path: Collection[str], source: Any) -> Iterator[Candidate]:
        """Those of other queues that could start if one slot of the path was free."""
        for name in ("", *path):
            for one, full in self._by_channel.get(name, ()):
                if one.source != source and full.issubset(path):
                    yield one


def slice_of(seconds: float, following: Key | None, rivals: Iterable[Candidate]) -> Slice | None:
    """For a grant that goes out now, where ``following`` is known to be ready behind it."""
    if not seconds or following is None:
        return None
    until = min((one.key for one in rivals), default=None)
    return Slice(seconds, until) if until is None or following < until else None


def must_end(given: Slice, bound: Key | None, bound_now: Key | None, rivals: Iterable[Candidate]) -> bool:
    """Whether another job's turn has come. ``bound``: below it the worker does not look."""
    if bound is not None and (bound_now is None or bound_now < bound):
        return True
    return any(given.until is None or one.key < given.until for one in rivals)
