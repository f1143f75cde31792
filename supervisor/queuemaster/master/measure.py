"""What a worker does and what it has used, read from the scoreboard and from the kernel."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

from queuejobs.shared import linux
from queuejobs.shared.scoreboard import Scoreboard, State

from .core.events import Reading, Reaped, Run
from .core.pools import Worker, WorkerState

_TICK = 10_000_000  # ns: the kernel may date the start of a process so much too early


def read_all(board: Scoreboard, workers: Iterable[Worker]) -> tuple[Reading, ...]:
    """All workers that said hello, as they are now."""
    readings = [reading for worker in workers if (reading := read(board, worker)) is not None]
    now = time.monotonic_ns()
    used = processor_times(
        {reading.pid: reading.snapshot.since for reading in readings if _may_have_used_up(reading, now)}
    )
    return tuple(
        replace(
            reading,
            cpu=used.get(reading.pid, 0),
            memory=linux.private_memory(reading.pid) if _has_memory_limit(reading) else 0,
        )
        for reading in readings
    )


def read(board: Scoreboard, worker: Worker) -> Reading | None:
    """A worker as it is now, without what it has used; None if it has not said hello or is dead."""
    snapshot = board.entry(worker.entry).snapshot() if worker.state is WorkerState.GREETED else None
    return None if snapshot is None else Reading(worker.entry, worker.generation, worker.pid, snapshot)


def _is_busy(reading: Reading) -> bool:
    return reading.snapshot.state is State.BUSY


def _has_memory_limit(reading: Reading) -> bool:
    return _is_busy(reading) and reading.snapshot.memory > 0


def _may_have_used_up(reading: Reading, now: int) -> bool:
    """Whether the run can have reached its limit: only if all processors together could have since it began."""
    could = (now - reading.snapshot.since) * (os.cpu_count() or 1)
    return _is_busy(reading) and 0 < reading.snapshot.cpu <= could


def processor_times(since: Mapping[int, int]) -> dict[int, int]:
    """Nanoseconds that each process group has used. ``since``: by group, when its run began.

    A worker leads its group. The group's other processes count too, since a job may compute in a child; but not those
    that are older than the run: an earlier job has left them behind. The list of all processes is read once for all
    groups, which costs one system call for each other process of the machine.
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
    """The death of a worker, with what its entry says: the run that it died in, if any, and what it had done before."""
    entry = board.entry(worker.entry)
    snapshot, counts = entry.snapshot(), entry.counts(worker.generation)
    if snapshot is None:
        # killed while it changed its entry, so at the beginning or the end of a job: recovery sees which
        return Reaped(worker.pid, status, True, True, None, words, counts)
    is_busy = snapshot.state is State.BUSY
    run = Run(snapshot.database, snapshot.job, snapshot.attempt) if is_busy else None
    useful = counts is not None and counts.useful
    return Reaped(worker.pid, status, is_busy, useful, run, words, counts)
