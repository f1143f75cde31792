"""When a worker may go on with the next jobs of its channel without asking, and when it has to stop.

A grant for several jobs spares the way over us between two of them. But who starts next, over all channels, is for us
to say: a slice ends before the first job that another channel would be granted in its stead, and at once when such a
job comes up, or when one comes before the slice's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from .channels import Candidate, Key

JOBS = 64  # at most, so that what is told of them never fills a socket


@dataclass(frozen=True)
class Slice:
    """How far a grant goes."""

    seconds: float
    until: Key | None  # the job of this key, and those behind it, wait for another look

    def message(self) -> dict[str, Any]:
        """For the worker."""
        return {"seconds": self.seconds, "jobs": JOBS, "until": self.until}


def slice_of(
    seconds: float,
    source: Any,
    following: Key | None,
    candidates: Iterable[Candidate],
    competes: Callable[[Candidate], bool],
) -> Slice | None:
    """For a grant that goes out to ``source`` now, where ``following`` is known to be ready behind it.

    ``competes``: whether a candidate could start if the grant's slot and worker were free again.
    """
    if not seconds or following is None:
        return None
    others = sorted((one for one in candidates if one.source != source), key=lambda one: one.key)
    until = next((one.key for one in others if competes(one)), None)
    return Slice(seconds, until) if until is None or following < until else None


def must_end(
    given: Slice,
    source: Any,
    bound: Key | None,
    bound_now: Key | None,
    candidates: Iterable[Candidate],
    competes: Callable[[Candidate], bool],
) -> bool:
    """Whether another job's turn has come. ``bound``: below it the worker does not look."""
    if bound is not None and (bound_now is None or bound_now < bound):
        return True
    return any(
        one.source != source and (given.until is None or one.key < given.until) and competes(one)
        for one in candidates
    )
