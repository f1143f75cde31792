"""What the dispatcher is told of the workers, and a new dispatcher before it may lead. Pure."""

from __future__ import annotations

from . import events as ev
from .pools import Pools, Worker, WorkerState
from .reload import Succession


def introduce(worker: Worker) -> ev.Introduce:
    """How a worker that said hello is handed to the dispatcher."""
    return ev.Introduce(worker.entry, worker.generation, worker.channel, worker.pid, worker.start_time)


def introductions(pools: Pools, succession: Succession) -> list[ev.Action]:
    """All workers and deaths, and what reloads and signals have changed: a new dispatcher knows nothing of it."""
    actions: list[ev.Action] = []
    for worker in pools.workers.values():
        if worker.state is WorkerState.GREETED:
            actions.append(introduce(worker))
        elif worker.state is WorkerState.DEAD and worker.death is not None:
            actions.append(worker.death)
    if pools.retired:
        actions.append(ev.TellRetire(pools.retired))
    if succession.root_change:
        actions.append(ev.TellRoot(succession.root_change))
    return [*actions, ev.TellBegin()]
