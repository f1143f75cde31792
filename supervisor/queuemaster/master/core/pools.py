"""How many workers each channel has, and which entry the next one gets. Pure."""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass, field

from .backoff import Backoff
from .events import TellDeath

FORKS_AT_ONCE = 8  # asked for and not yet there: a storm of deaths must not become a storm of forks


class WorkerState(enum.Enum):
    """What the master knows of a worker."""

    ASKED = "asked"
    NAMED = "named"  # its pid is known
    GREETED = "greeted"  # it said hello: the dispatcher may have it
    DEAD = "dead"  # reaped; the entry stays taken until its job is recovered


@dataclass
class Worker:
    """One entry of the scoreboard that is taken."""

    entry: int
    generation: int
    channel: str
    deadline: float  # to say hello
    state: WorkerState = WorkerState.ASKED
    pid: int = 0
    start_time: int = 0
    death: TellDeath | None = None  # what the dispatcher is told, until it has recovered the job
    killed: bool = False  # by us, on the way down: its try does not count
    aborted: bool = False  # it did not say hello in time and was told to leave its tracebacks


@dataclass
class Pools:
    """The workers of all channels. ``targets``: how many each channel keeps ready."""

    targets: dict[str, int]
    max_workers: int
    entries: int
    workers: dict[int, Worker] = field(default_factory=dict)
    wanted: dict[str, int] = field(
        default_factory=dict
    )  # by channel: that it could use at once, all together
    retired: int = 0  # workers up to this generation run old code and leave
    backoffs: dict[str, Backoff] = field(default_factory=dict)
    generation: int = 0

    def alive(self) -> list[Worker]:
        """All that were asked for and are not dead."""
        return [worker for worker in self.workers.values() if worker.state is not WorkerState.DEAD]

    def by_pid(self, pid: int) -> Worker | None:
        """The living worker of this pid."""
        return next((worker for worker in self.alive() if worker.pid == pid), None)

    def match(self, entry: int, generation: int) -> Worker | None:
        """The worker, unless the entry has been given to a later one."""
        worker = self.workers.get(entry)
        return worker if worker is not None and worker.generation == generation else None

    def backoff(self, channel: str) -> Backoff:
        """The budget of one channel's pool."""
        return self.backoffs.setdefault(channel, Backoff())

    def missing(self, now: float) -> list[str]:
        """A channel name for each worker to fork now: those that jobs wait for, then those that are kept ready."""
        alive = self.alive()
        have = Counter(worker.channel for worker in alive)
        coming = sum(worker.state in (WorkerState.ASKED, WorkerState.NAMED) for worker in alive)
        room = min(self.max_workers - len(alive), FORKS_AT_ONCE - coming, self.entries - len(self.workers))
        ready = [name for name, target in self.targets.items() for _ in range(target - have[name])]
        staying = Counter(worker.channel for worker in alive if worker.generation > self.retired)
        demanded = [name for name, count in self.wanted.items() for _ in range(count - staying[name])]
        # what waits for a worker goes before what is only kept ready
        order = demanded + [name for name in ready if name not in demanded]
        return [name for name in order if self.backoff(name).until <= now][: max(room, 0)]

    def reserve(self, channel: str, deadline: float) -> Worker:
        """Take the lowest free entry for a worker to come."""
        entry = next(index for index in range(self.entries) if index not in self.workers)
        self.generation += 1
        self.workers[entry] = Worker(entry, self.generation, channel, deadline)
        return self.workers[entry]
