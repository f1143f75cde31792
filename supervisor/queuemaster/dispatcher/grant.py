"""What a grant is for: how many jobs of its channel, for how long, and which job of another channel ends it.

With a grant for several jobs (a slice) a worker need not ask the dispatcher between two of them. But the dispatcher
decides which job of all channels starts next. So a slice ends before the first job of another channel that would be
granted in its place. It ends at once when such a job becomes ready, or one that comes before the slice's next.

The jobs of a batch are one transaction: a job that kills its worker or breaks the commit rolls all of them back, and
nothing tells which job it was. So after a batch broke, its jobs run one by one, and each is charged for itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from queuejobs.shared.job_key import Key
from queuejobs.shared.messages import SliceTerms
from queuemaster.channels import Candidate, Tree

SLICE_JOBS = 64  # jobs of a slice, at most: the messages about them never fill a socket

Source = tuple[int, str]  # a database and a stored channel


@dataclass
class OutstandingGrant:
    """The right to run jobs of a stored channel in one slot, from the grant to the worker's release of it."""

    number: int
    database: int
    epoch: int
    channel: str  # as stored
    sequential: bool
    batch: int  # jobs in one transaction, at most
    bound: Key | None  # no ready job has a lesser key
    slice: SliceTerms | None = None  # None: one job, or one batch
    claimed: bool = False  # a job was started by it
    revoked: bool = False  # the worker was told to end its slice or batch

    @property
    def source(self) -> Source:
        """Whose jobs it is for."""
        return self.database, self.channel


class BatchSizes:
    """How many jobs a grant is for: as many as the channel's ``batch`` says, one after a batch of the source broke."""

    def __init__(self) -> None:
        self._singles: dict[Source, int] = {}  # grants for one job that are still to be given

    def next_size(self, source: Source, tree: Tree, channel: str) -> int:
        """The jobs of the grant that goes out now: one where starts are counted or ordered."""
        singles = self._singles.pop(source, 0)
        if singles > 1:
            self._singles[source] = singles - 1
        return 1 if singles or tree.ordered_or_timed(channel) else tree[channel].batch

    def broke(self, grant: OutstandingGrant) -> None:
        """The batch was rolled back, or lost with its worker: as many jobs as it was for run one by one."""
        if grant.batch > 1:
            self._singles[grant.source] = self._singles.get(grant.source, 0) + grant.batch


class Rivals:
    """Candidates that wait for a slot or a worker, by a channel that is full on their way."""

    def __init__(self, waiting: Iterable[tuple[Candidate, frozenset[str]]]) -> None:
        """``waiting``: each with all the channels that are full on its way."""
        self._by_channel: dict[str, list[tuple[Candidate, frozenset[str]]]] = {}
        for candidate, full in sorted(waiting, key=lambda pair: pair[0].key):
            self._by_channel.setdefault(next(iter(full), ""), []).append((candidate, full))

    def of(self, path: Collection[str], source: Any) -> Iterator[Candidate]:
        """Those of other sources that could start if one slot of every channel on ``path`` were free."""
        for name in ("", *path):
            for candidate, full in self._by_channel.get(name, ()):
                if candidate.source != source and full.issubset(path):
                    yield candidate


def slice_of(seconds: float, following: Key | None, rivals: Iterable[Candidate]) -> SliceTerms | None:
    """The terms of a grant that goes out now; None: one job. ``following``: the ready job behind the first."""
    if not seconds or following is None:
        return None
    until = min((rival.key for rival in rivals), default=None)
    return SliceTerms(seconds, SLICE_JOBS, until) if until is None or following < until else None


def must_end(
    terms: SliceTerms, bound: Key | None, bound_now: Key | None, rivals: Iterable[Candidate]
) -> bool:
    """Whether another job's turn has come. The worker does not look below ``bound``, where a job may be by now."""
    if bound is not None and (bound_now is None or bound_now < bound):
        return True
    return any(terms.until is None or rival.key < terms.until for rival in rivals)
