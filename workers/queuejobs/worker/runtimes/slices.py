"""A grant for more than one job: as long as it lasts, the end of a run claims the next job of its channel.

Each has a transaction of its own. The dispatcher ends a slice by saying anything at all to the worker.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Mapping

from ...store.claims import SliceBounds


class Slice:
    """What is left of a grant."""

    def __init__(self, grant: Mapping[str, Any], stop: Callable[[int], bool]) -> None:
        """``stop``: whether the worker should not go on, having run so many jobs."""
        given = grant.get("slice")
        self._jobs = given["jobs"] if given else 1
        self._until = time.monotonic() + given["seconds"] if given else 0.0
        self._stop = stop
        until = given["until"] if given else None
        self.bounds = SliceBounds(grant["epoch"], grant["channel"], grant["bound"], until)

    def lasts(self, ran: int) -> bool:
        """Whether another job may follow, when so many will have been run."""
        return ran < self._jobs and time.monotonic() < self._until and not self._stop(ran)
