"""What a worker is at and has used, read from the scoreboard and the kernel."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

from queuejobs.shared import linux
from queuejobs.shared.scoreboard import Scoreboard, State

from .core.events import Reading, Reaped, Run
from .core.pools import Worker, WorkerState

_TICK = 10_000_000  # ns, by which the kernel may date the start of a process too early


def read_all(board: Scoreboard, workers: Iterable[Worker]) -> tuple[Reading, ...]:
    """All that said hello, as they are now."""
    found = [reading for worker in workers if (reading := read(board, worker)) is not None]
    now = time.monotonic_ns()
    used = processor_times({one.pid: one.snapshot.since for one in found if _may_have_used_up(one, now)})
    return tuple(
        replace(
            one,
            cpu=used.get(one.pid, 0),
            memory=linux.private_memory(one.pid) if _is_busy(one) and one.snapshot.memory else 0,
        )
        for one in found
    )


def read(board: Scoreboard, worker: Worker) -> Reading | None:
    """A worker that said hello, as it is now, without what it has used."""
    last = board.entry(worker.entry).snapshot() if worker.state is WorkerState.GREETED else None
    return None if last is None else Reading(worker.entry, worker.generation, worker.pid, last)


def _is_busy(reading: Reading) -> bool:
    return reading.snapshot.state is State.BUSY


def _may_have_used_up(reading: Reading, now: int) -> bool:
    """Whether its processor time is worth a look: all processors together could have used what its run may."""
    could = (now - reading.snapshot.since) * (os.cpu_count() or 1)
    return _is_busy(reading) and 0 < reading.snapshot.cpu <= could


def processor_times(since: Mapping[int, int]) -> dict[int, int]:
    """By process group, which is named with the time at which its run began: nanoseconds that it has used.

    The worker, which leads its group, and what it has waited for; and every other process of its group, for a job may
    compute in a child. One that is older than the run is what an earlier job has left behind: the run must not pay for
    it. The list of processes is read once for all, and costs two system calls for each that is nobody's.
    """
    used = dict.fromkeys(since, 0)
    for name in os.listdir("/proc") if since else ():
        if not name.isdigit():
            continue
        try:
            group = os.getpgid(int(name))
        except ProcessLookupError:
            continue
        if group in used:
            times = linux.times(int(name))
            if int(name) == group or times.started + _TICK >= since[group]:
                used[group] += times.used
    return used


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
