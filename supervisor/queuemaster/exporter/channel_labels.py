"""Which channels have series of their own: their number is bounded, whatever is configured. Pure."""

from __future__ import annotations

from collections.abc import Iterable

MOST = 200
OTHER = "other"


class ChannelLabels:
    """The first ``most`` configured channels by their names, all others together as ``OTHER``."""

    def __init__(self, configured: Iterable[str], most: int = MOST) -> None:
        names = list(configured)
        self._named = frozenset(names[:most])
        self.all = (*names[:most], *((OTHER,) if len(names) > most else ()))

    def of(self, channel: str) -> str:
        """The label of a channel; ``OTHER`` for one that is not configured any more."""
        return channel if channel in self._named else OTHER
