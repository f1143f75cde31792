"""How a run of a job can end, and the counters: runs by how they ended, how long they took, how long jobs had waited.

One type for a worker's entry of the scoreboard, for the master's sums of workers that are gone, for the document that
the master publishes and for the exporter's metrics.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Dict, List, Sequence, TypedDict


class RunOutcome(str, enum.Enum):
    """How a run ended. A run that was stopped counts by what it was stopped for, whatever becomes of its job."""

    DONE = "done"
    FAILED = "failed"
    RETRIED = "retried"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    CPU = "cpu"
    LOST = "lost"  # its worker died, which the master counts, or lost its connection
    CANCELLED = "cancelled"  # not counted, like the next
    NOTHING = "nothing"  # there was no run


# The outcomes that are counted, in the order of the scoreboard's words; the last one is no end of a job.
OUTCOMES = tuple(
    outcome.value for outcome in RunOutcome if outcome not in (RunOutcome.CANCELLED, RunOutcome.NOTHING)
)
# Upper bounds of a histogram's buckets, in seconds; the last bucket has none.
BOUNDS = (0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0)
HISTOGRAM = len(BOUNDS) + 2  # numbers: a count for each bucket, then the sum of all times in microseconds


class WorkCountsDocument(TypedDict):
    """The counters in JSON."""

    outcomes: Dict[str, int]
    duration: List[int]
    wait: List[int]


@dataclass(frozen=True)
class WorkCounts:
    """What one or several workers have done; of a worker the numbers only ever grow."""

    outcomes: Dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    duration: List[int] = field(default_factory=lambda: [0] * HISTOGRAM)  # of each run
    # from a job's creation to its first start
    wait: List[int] = field(default_factory=lambda: [0] * HISTOGRAM)

    @property
    def useful(self) -> bool:
        """Whether at least one run came to an end that was not the end of its worker or connection."""
        return any(number for name, number in self.outcomes.items() if name != RunOutcome.LOST.value)

    def __add__(self, other: WorkCounts) -> WorkCounts:
        return WorkCounts(
            {name: self.outcomes[name] + other.outcomes[name] for name in OUTCOMES},
            sum_histograms(self.duration, other.duration),
            sum_histograms(self.wait, other.wait),
        )

    def to_json(self) -> WorkCountsDocument:
        """The counters as they stand in the master's document."""
        return {"outcomes": self.outcomes, "duration": self.duration, "wait": self.wait}

    @classmethod
    def from_json(cls, document: WorkCountsDocument) -> WorkCounts:
        """The inverse of :meth:`to_json`."""
        return cls(document["outcomes"], document["duration"], document["wait"])


def sum_histograms(first: Sequence[int], second: Sequence[int]) -> List[int]:
    """Bucket by bucket; both have ``HISTOGRAM`` numbers."""
    return [one + other for one, other in zip(first, second)]
