"""How many jobs a grant is for: as many as its channel's ``batch`` says, but one alone after a batch broke.

The jobs of a batch are one transaction, so whoever takes its worker down, or the commit, takes all of them back, and
nobody knows who it was. Alone, it is charged as ever.
"""

from __future__ import annotations

from queuemaster.channels import Tree

from .links import Grant


class Batches:
    """By place: a database and a stored channel."""

    def __init__(self) -> None:
        self._alone: dict[tuple[int, str], int] = {}  # so many grants more

    def size(self, place: tuple[int, str], tree: Tree, channel: str) -> int:
        """For the grant that goes out now. Where starts are counted or ordered, each takes a grant."""
        left = self._alone.pop(place, 0)
        if left > 1:
            self._alone[place] = left - 1
        return 1 if left or tree.ordered_or_timed(channel) else tree[channel].batch

    def broke(self, grant: Grant) -> None:
        """Its jobs came to nothing, or it lost its worker: as many as it was for have their turns one by one."""
        if grant.batch > 1:
            place = (grant.database, grant.channel)
            self._alone[place] = self._alone.get(place, 0) + grant.batch
