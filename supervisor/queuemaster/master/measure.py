"""What a worker is at and has used, read from the scoreboard and the kernel."""

from __future__ import annotations

from collections.abc import Iterable

from queuejobs.worker import linux
from queuejobs.worker.scoreboard import Scoreboard, State

from .events import Reading, Reaped, Run
from .pools import Worker, WorkerState


def read_all(board: Scoreboard, workers: Iterable[Worker]) -> tuple[Reading, ...]:
    """All that said hello, as they are now."""
    readings = (read(board, worker) for worker in workers)
    return tuple(reading for reading in readings if reading is not None)


def read(board: Scoreboard, worker: Worker) -> Reading | None:
    """A worker that said hello, as it is now; what costs a look at the kernel only where there is a limit."""
    last = board.entry(worker.entry).snapshot() if worker.state is WorkerState.GREETED else None
    if last is None:
        return None
    busy = last.state is State.BUSY
    return Reading(
        worker.entry, worker.generation, worker.pid, last,
        linux.processor_time(worker.pid) if busy and last.cpu else 0,
        linux.private_memory(worker.pid) if busy and last.memory else 0,
    )  # fmt: skip


def obituary(board: Scoreboard, worker: Worker, status: int, words: str) -> Reaped:
    """What a worker that was reaped has left: its run, if it was at one, and what it had done before."""
    entry = board.entry(worker.entry)
    last, counts = entry.snapshot(), entry.counts(worker.generation)
    if last is None:
        # killed in the middle of a change: on its way into a job or out of it, recovery sees which
        return Reaped(worker.pid, status, True, True, None, words, counts)
    run = Run(last.database, last.job, last.attempt) if last.state is State.BUSY else None
    useful = counts is not None and counts.useful
    return Reaped(worker.pid, status, run is not None, useful, run, words, counts)
