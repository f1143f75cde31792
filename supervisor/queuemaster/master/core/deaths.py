"""How a worker died, in words, and what the dispatcher is told: the cause, and the run that is charged with it."""

from __future__ import annotations

import os
import signal

from queuejobs.shared.stop_causes import DeathKind

from .events import Reaped, Run, TellDeath
from .limits import Charge
from .pools import Worker


def notice(worker: Worker, event: Reaped, charge: Charge | None) -> TellDeath:
    """What the dispatcher is told. ``charge``: what the master was ending the worker for, if it was."""
    run = event.run or Run(0, 0, 0)
    cause, kind = None, DeathKind.DEATH
    if worker.killed:
        pass  # at the end of the service: an interruption, for which no job pays
    elif charge is not None:
        # the run that is charged pays; another run, which the worker has begun since, goes back uncounted
        if charge.job:
            run, cause = Run(run.database, charge.job, charge.attempt), charge.text
            kind = DeathKind.LIMIT if charge.limit else DeathKind.DEATH
    elif event.busy:
        # job 0: the dispatcher knows which job the worker was claiming
        cause = describe(worker.pid, event.status)
    return TellDeath(
        worker.entry, worker.generation, worker.pid, worker.start_time,
        run.database, run.job, run.attempt, cause, event.words, kind,
    )  # fmt: skip


def describe(pid: int, status: int) -> str:
    """``worker 4711 died: SIGSEGV`` or ``worker 4711 exited while busy: code 0``."""
    if os.WIFSIGNALED(status):
        return f"worker {pid} died: {_name(os.WTERMSIG(status))}"
    return f"worker {pid} exited while busy: code {os.waitstatus_to_exitcode(status)}"


def outcome(status: int) -> str:
    """``SIGKILL`` or ``exit code 3``."""
    if os.WIFSIGNALED(status):
        return _name(os.WTERMSIG(status))
    return f"exit code {os.waitstatus_to_exitcode(status)}"


def _name(signum: int) -> str:
    try:
        return signal.Signals(signum).name
    except ValueError:  # real-time signals have no names
        return f"signal {signum}"
