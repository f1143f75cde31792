"""Which channels have a series of their own: their number is bounded, whoever configures what. Pure."""

from __future__ import annotations

from collections.abc import Iterable

MOST = 200
OTHER = "other"


class Names:
    """The first ``most`` configured channels by name, all others together."""

    def __init__(self, configured: Iterable[str], most: int = MOST) -> None:
        ordered = list(configured)
        self._named = frozenset(ordered[:most])
        self.shown = (*ordered[:most], *((OTHER,) if len(ordered) > most else ()))

    def shown_as(self, channel: str) -> str:
        """The label of a configured channel, or of one that was configured once."""
        return channel if channel in self._named else OTHER
