"""How many workers each channel has, and which entry the next one gets. Pure."""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass, field

from .backoff import Backoff
from .events import Log, TellDeath
from .states import change

FORKS_AT_ONCE = 8  # asked for and not yet there: a storm of deaths must not become a storm of forks


class WorkerState(enum.Enum):
    """What the master knows of a worker. One that is lost before its hello is forgotten in any state."""

    ASKED = "asked"  # the template was asked to fork it
    NAMED = "named"  # its pid is known
    GREETED = "greeted"  # it said hello: the dispatcher may have it
    DEAD = "dead"  # reaped; the entry stays taken until its job is recovered


_NEXT_STATES = {
    # the hello may be read before the template's answer
    WorkerState.ASKED: frozenset({WorkerState.NAMED, WorkerState.GREETED}),
    WorkerState.NAMED: frozenset({WorkerState.GREETED}),
    WorkerState.GREETED: frozenset({WorkerState.DEAD}),
    WorkerState.DEAD: frozenset(),
}


@dataclass
class Worker:
    """One entry of the scoreboard that is taken."""

    entry: int
    generation: int
    channel: str
    deadline: float  # to say hello
    state: WorkerState = WorkerState.ASKED  # changed by change_state() only
    pid: int = 0
    start_time: int = 0
    death: TellDeath | None = None  # what the dispatcher is told, until it has recovered the job
    killed: bool = False  # by the master, at its end: the try does not count
    aborted: bool = False  # it did not say hello in time and was told to leave its tracebacks

    def change_state(self, state: WorkerState) -> Log:
        """The only way to another state; returns what the log says of it."""
        line = change(
            "worker", _NEXT_STATES, self.state, state,
            worker=self.pid or None, channel=self.channel, entry=self.entry, generation=self.generation,
        )  # fmt: skip
        self.state = state
        return line


@dataclass
class Pools:
    """The workers of all channels. ``targets``: how many each channel keeps ready."""

    targets: dict[str, int]
    max_workers: int
    entries: int
    workers: dict[int, Worker] = field(default_factory=dict)
    # workers that each channel could use now, existing ones included
    wanted: dict[str, int] = field(default_factory=dict)
    retired: int = 0  # workers up to this generation run old code and leave
    backoffs: dict[str, Backoff] = field(default_factory=dict)
    generation: int = 0

    def alive(self) -> list[Worker]:
        """All workers that are not dead, also those that are still to come."""
        return [worker for worker in self.workers.values() if worker.state is not WorkerState.DEAD]

    def by_pid(self, pid: int) -> Worker | None:
        """The living worker of this pid."""
        return next((worker for worker in self.alive() if worker.pid == pid), None)

    def match(self, entry: int, generation: int) -> Worker | None:
        """The worker of this generation; None if it is gone and its entry free or given to another one."""
        worker = self.workers.get(entry)
        return worker if worker is not None and worker.generation == generation else None

    def backoff(self, channel: str) -> Backoff:
        """The pauses of one channel's pool."""
        return self.backoffs.setdefault(channel, Backoff())

    def missing(self, now: float) -> list[str]:
        """The channel of each worker to fork now: first those that jobs wait for, then those that are kept ready."""
        alive = self.alive()
        existing = Counter(worker.channel for worker in alive)
        coming = sum(worker.state in (WorkerState.ASKED, WorkerState.NAMED) for worker in alive)
        room = min(self.max_workers - len(alive), FORKS_AT_ONCE - coming, self.entries - len(self.workers))
        to_keep_ready = [
            name for name, target in self.targets.items() for _ in range(target - existing[name])
        ]
        # a worker that is about to leave is no use to a job that waits
        staying = Counter(worker.channel for worker in alive if worker.generation > self.retired)
        waited_for = [name for name, count in self.wanted.items() for _ in range(count - staying[name])]
        order = waited_for + [name for name in to_keep_ready if name not in waited_for]
        return [name for name in order if self.backoff(name).until <= now][: max(room, 0)]

    def reserve(self, channel: str, deadline: float) -> Worker:
        """Take the lowest free entry for a new worker. ``deadline``: to say hello."""
        entry = next(index for index in range(self.entries) if index not in self.workers)
        self.generation += 1
        self.workers[entry] = Worker(entry, self.generation, channel, deadline)
        return self.workers[entry]
