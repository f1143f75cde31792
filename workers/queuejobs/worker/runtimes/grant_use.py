"""One grant while a worker uses it: its terms, what has come of it so far, and when it has to end.

A grant for a slice covers more than one job: as long as it lasts, the end of a run claims the next job of its channel,
each in a transaction of its own. Any message of the dispatcher ends the slice.
"""

from __future__ import annotations

import time
from typing import Optional, Protocol

from ...shared.messages import Grant
from ...store.claims import Run, SliceBounds


class Orders(Protocol):
    """What a runtime asks its worker, and tells it, while it uses a grant."""

    def draining(self) -> bool:
        """Whether no job may be started any more."""

    def called_off(self) -> bool:
        """Whether the job that runs should be the last of this grant."""

    def worn_out(self, jobs_run: int) -> bool:
        """Whether the worker should be replaced when it has run so many jobs by this grant."""

    def claimed(self, job: int) -> None:
        """A job was started."""


class GrantUse:
    """The state of one grant, from its arrival to its release."""

    def __init__(self, grant: Grant, orders: Orders) -> None:
        self.grant = grant
        self.orders = orders
        self.jobs_run = 0  # those of a batch included
        self.run_was_stopped = False  # from outside, for a limit or a cancel
        self.batch_broke = False  # it was rolled back as a whole
        self.next_run: Optional[Run] = None  # started together with the end of the last one
        terms = grant.slice
        self._jobs = terms.jobs if terms else 1
        self._until = time.monotonic() + terms.seconds if terms else 0.0
        self.bounds = SliceBounds(grant.epoch, grant.channel, grant.bound, terms.until if terms else None)

    def may_go_on(self) -> bool:
        """Whether another job may follow the one that is counted in ``jobs_run`` already."""
        return (
            self.jobs_run < self._jobs
            and time.monotonic() < self._until
            and not self.orders.called_off()
            and not self.orders.worn_out(self.jobs_run)
        )

    def take_next_run(self) -> Optional[Run]:
        """The run that was started together with the end of the last one; it is handed out once."""
        next_run, self.next_run = self.next_run, None
        return next_run
