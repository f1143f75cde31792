"""What the dispatcher is told of a dead worker: why it died, and which run is to blame. Pure."""

from __future__ import annotations

from .causes import describe
from .events import Reaped, Run, TellDeath
from .pools import Worker
from .watch import Charge


def notice(worker: Worker, event: Reaped, charge: Charge | None) -> TellDeath:
    """``charge``: what the master was ending it for, if it was."""
    run = event.run or Run(0, 0, 0)
    cause, kind = None, "death"
    if worker.killed:
        pass  # on the way down: an interruption
    elif charge is not None:
        # the run that was charged, even if the worker had gone on to another: that one goes back uncounted
        if charge.job:
            run, cause = Run(run.database, charge.job, charge.attempt), charge.text
            kind = "limit" if charge.limit else "death"
    elif event.busy:
        # without a number: the job that it was claiming
        cause = describe(worker.pid, event.status)
    return TellDeath(
        worker.entry, worker.generation, worker.pid, worker.start_time,
        run.database, run.job, run.attempt, cause, event.words, kind,
    )  # fmt: skip
