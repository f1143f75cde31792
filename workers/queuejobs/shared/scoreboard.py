"""The scoreboard: shared memory with an entry for every worker, each field with one writer.

4,096 entries of 512 bytes in a memfd, sparse. An entry is 64 words of 64 bits. A word is written by one store, so no
reader sees half of it. Words that belong together (state, job, attempt, …) are guarded by a sequence number, which is
odd while the worker writes them.

    words 0-7    the master: generation, pid, boot deadline, kill request
    words 8-31   the worker: sequence, heartbeat, state, run and its limits, how its runs ended
    words 32-47  the worker: how long its runs took, a histogram
    words 48-63  the worker: how long its jobs had waited, likewise
"""

from __future__ import annotations

import bisect
import enum
import mmap
import os
from typing import NamedTuple, Optional

from .stop_causes import Cause
from .work_counts import BOUNDS, HISTOGRAM, OUTCOMES, RunOutcome, WorkCounts

ENTRIES = 4096
_WORDS = 64
_SIZE = ENTRIES * _WORDS * 8

_GENERATION, _PID, _BOOT_DEADLINE = 0, 1, 2
_KILL_JOB, _KILL_ATTEMPT, _KILL_CAUSE, _KILL_VALUE = 3, 4, 5, 6
_SEQUENCE, _HEARTBEAT, _STATE, _DATABASE, _JOB, _ATTEMPT, _SINCE = 8, 9, 10, 11, 12, 13, 14
_TIMEOUT, _CPU, _CPU_BEFORE, _MEMORY = 16, 17, 18, 19
_OUTCOMES, _DURATION, _WAIT = 20, 32, 48
_SNAPSHOT = (
    _GENERATION, _PID, _BOOT_DEADLINE, _HEARTBEAT, _STATE, _DATABASE, _JOB, _ATTEMPT, _SINCE, _TIMEOUT, _CPU,
    _CPU_BEFORE, _MEMORY,
)  # fmt: skip


class State(enum.IntEnum):
    """What a worker is doing."""

    BOOTING = 0
    IDLE = 1
    BUSY = 2
    LEAVING = 3


class EntrySnapshot(NamedTuple):
    """An entry as it was at one moment. Times are nanoseconds of CLOCK_MONOTONIC; a limit of 0 is none."""

    generation: int
    pid: int
    boot_deadline: int
    heartbeat: int
    state: State
    database: int  # the id of a configured database
    job: int  # 0: none; if the worker is busy, it is claiming one
    attempt: int
    since: int  # when the state began
    timeout: int  # ns, of the run
    cpu: int  # ns of processor time that the run may use
    cpu_before: int  # ns that the worker had used when the run began
    memory: int  # bytes


class RunLimits(NamedTuple):
    """What one run may use; 0: no limit."""

    timeout: int = 0  # ns
    cpu: int = 0  # ns
    cpu_before: int = 0  # ns that the worker had used when the run began: no limit, but cpu counts from there
    memory: int = 0  # bytes


NO_LIMITS = RunLimits()


class KillRequest(NamedTuple):
    """The master wants one run stopped. It names the attempt, since the worker may have begun the next job."""

    job: int
    attempt: int
    cause: Cause
    value: int  # what was measured: ns, bytes


class Scoreboard:
    """The whole board, over a descriptor that parent and children share."""

    def __init__(self, fd: int, protection: int = mmap.PROT_READ | mmap.PROT_WRITE) -> None:
        self.fd = fd
        self._words = memoryview(mmap.mmap(fd, _SIZE, prot=protection)).cast("Q")

    @classmethod
    def create(cls) -> Scoreboard:
        """A new board, all zero. A process inherits its descriptor only if it is handed over."""
        fd = os.memfd_create("queuemaster-scoreboard", os.MFD_CLOEXEC)
        os.ftruncate(fd, _SIZE)
        return cls(fd)

    @classmethod
    def view(cls, fd: int) -> Scoreboard:
        """The board over this descriptor, for reading only."""
        return cls(fd, mmap.PROT_READ)

    def entry(self, index: int) -> Entry:
        """The entry of one worker."""
        if not 0 <= index < ENTRIES:
            raise IndexError(f"entry {index}: there are {ENTRIES}")
        return Entry(self._words[index * _WORDS : (index + 1) * _WORDS])


class Entry:
    """The words of one worker."""

    def __init__(self, words: memoryview) -> None:
        self._words = words

    # the master

    def reserve(self, generation: int, boot_deadline: int) -> None:
        """Clear the entry for a new worker, before it is forked."""
        for word in range(_WORDS):
            self._words[word] = 0
        self._words[_GENERATION] = generation
        self._words[_BOOT_DEADLINE] = boot_deadline

    def name(self, pid: int) -> None:
        """The worker's pid is known."""
        self._words[_PID] = pid

    def ask_to_stop(self, request: KillRequest) -> None:
        """Have the worker stop this run, if it still runs. The job is written last: with it the request counts."""
        words = self._words
        words[_KILL_JOB] = 0
        words[_KILL_ATTEMPT], words[_KILL_CAUSE], words[_KILL_VALUE] = request[1:]
        words[_KILL_JOB] = request.job

    # the worker

    def beat(self, now: int) -> None:
        """The worker is alive."""
        self._words[_HEARTBEAT] = now

    def change(
        self,
        state: State,
        now: int,
        database: int = 0,
        job: int = 0,
        attempt: int = 0,
        limits: RunLimits = NO_LIMITS,
    ) -> None:
        """The worker enters a state. Only its main thread may call this."""
        words = self._words
        words[_SEQUENCE] += 1
        words[_STATE], words[_SINCE] = state, now
        words[_DATABASE], words[_JOB], words[_ATTEMPT] = database, job, attempt
        words[_TIMEOUT], words[_CPU], words[_CPU_BEFORE], words[_MEMORY] = limits
        words[_SEQUENCE] += 1

    def waited(self, seconds: float) -> None:
        """A job was started for the first time, ``seconds`` after it was created."""
        self._observe(_WAIT, seconds)

    def count(self, outcome: RunOutcome, seconds: float) -> None:
        """A run ended after ``seconds``. Only the outcomes in ``OUTCOMES`` are counted."""
        if outcome.value in OUTCOMES:
            self._observe(_DURATION, seconds)
            self._words[_OUTCOMES + OUTCOMES.index(outcome.value)] += 1

    def _observe(self, first: int, seconds: float) -> None:
        # the clocks of two machines may disagree, which gives negative times
        seconds = max(seconds, 0.0)
        self._words[first + HISTOGRAM - 1] += int(seconds * 1e6)
        self._words[first + bisect.bisect_left(BOUNDS, seconds)] += 1

    # readers

    def kill_request(self) -> Optional[KillRequest]:
        """The run that is to be stopped, if there is one."""
        words = self._words
        job = words[_KILL_JOB]
        if not job:
            return None
        return KillRequest(job, words[_KILL_ATTEMPT], Cause(words[_KILL_CAUSE]), words[_KILL_VALUE])

    def counts(self, generation: int) -> Optional[WorkCounts]:
        """What the worker of this generation has done; None if the entry was given to another one."""
        words = self._words
        if words[_GENERATION] != generation:
            return None
        copy = words.tolist()
        if words[_GENERATION] != generation:  # reserve() clears this word first
            return None
        return WorkCounts(
            dict(zip(OUTCOMES, copy[_OUTCOMES : _OUTCOMES + len(OUTCOMES)])),
            copy[_DURATION : _DURATION + HISTOGRAM],
            copy[_WAIT : _WAIT + HISTOGRAM],
        )

    def snapshot(self) -> Optional[EntrySnapshot]:
        """A consistent copy; None if the worker was killed in the middle of a change."""
        words = self._words
        for _ in range(100):
            before = words[_SEQUENCE]
            copy = words[:_DURATION].tolist()
            if before % 2 == 0 and words[_SEQUENCE] == before:
                return EntrySnapshot._make(
                    State(copy[word]) if word == _STATE else copy[word] for word in _SNAPSHOT
                )
        return None
