"""How the master ends: running jobs may finish, then workers are killed and recovered, then the roles go. Pure."""

from __future__ import annotations

import logging
import signal
from collections.abc import Mapping

from . import events as ev
from .children import NEXT_PHASES, Child, Phase
from .events import Role
from .events import log as _log
from .pools import Pools, Worker, WorkerState
from .states import change

RECOVERY_PATIENCE = 10.0  # seconds to wait, on the way down, for the dispatcher to put back what was killed
_ORDER = (Role.EXPORTER, Role.SUCCESSOR, Role.TEMPLATE, Role.DISPATCHER, Role.SERVER)
# INT is the embedded server's fast shutdown; the exporter has nothing to finish and is not waited for
_END = {Role.SERVER: signal.SIGINT, Role.EXPORTER: signal.SIGKILL}


class Shutdown:
    """How far the end of the master is; RUNNING until it begins. Mutates the master's children and pools."""

    def __init__(self, children: Mapping[Role, Child], pools: Pools) -> None:
        self._children = children
        self._pools = pools
        self.phase = Phase.RUNNING  # changed by _enter() only
        self.exit_status = 0
        self._deadline = 0.0

    def deadline(self) -> float | None:
        """When the phase ends at the latest."""
        return self._deadline if self.phase in (Phase.DRAINING, Phase.RECOVERING) else None

    def _enter(self, phase: Phase) -> ev.Log:
        """The only way to another phase; returns what the log says of it."""
        line = change("master", NEXT_PHASES, self.phase, phase)
        self.phase = phase
        return line

    def begin(self, now: float, graceful_timeout: float) -> list[ev.Action]:
        """Let running jobs finish, start none. The second time: do not wait for them any longer."""
        if self.phase is not Phase.RUNNING:
            return self.hurry(now, graceful_timeout)
        self._deadline = now + graceful_timeout
        actions: list[ev.Action] = [
            _log(logging.INFO, "shutting down", graceful_timeout=graceful_timeout),
            self._enter(Phase.DRAINING),
        ]
        if self._children[Role.DISPATCHER].pid:
            actions.append(ev.TellDrain())
        actions += end_role(self._children, Role.EXPORTER)
        actions += end_role(self._children, Role.TEMPLATE)
        actions += [ev.Signal(w.pid, signal.SIGTERM, False) for w in self._pools.alive() if w.pid]
        return actions

    def hurry(self, now: float, graceful_timeout: float) -> list[ev.Action]:
        """Begin, if it has not begun, and do not wait for running jobs."""
        begun = self.begin(now, graceful_timeout) if self.phase is Phase.RUNNING else []
        return [*begun, *self._kill_all(now)] if self.phase is Phase.DRAINING else []

    def due(self, now: float) -> list[ev.Action]:
        """What has become due since it began."""
        if self.phase is Phase.ENDED:
            return []
        actions: list[ev.Action] = []
        if self.phase is Phase.DRAINING and (now >= self._deadline or not self._pools.alive()):
            actions += self._kill_all(now)
        # a worker whose pid is not known cannot be waited for; its link closes with the master
        waiting = [worker for worker in self._pools.workers.values() if worker.pid]
        if self.phase is not Phase.ENDING and self._nothing_left_to_do(waiting, now):
            actions.append(self._enter(Phase.ENDING))
        if self.phase is Phase.ENDING:
            actions += self._end_roles()
        return actions

    def _kill_all(self, now: float) -> list[ev.Action]:
        self._deadline = now + RECOVERY_PATIENCE
        actions: list[ev.Action] = [self._enter(Phase.RECOVERING)]
        kills: list[ev.Action] = []
        for worker in self._pools.alive():
            worker.killed = True
            if worker.pid:
                kills.append(ev.Signal(worker.pid, signal.SIGKILL, worker.state is WorkerState.GREETED))
        if kills:
            actions.append(_log(logging.WARNING, "workers killed, their jobs go back", workers=len(kills)))
        return actions + kills

    def _nothing_left_to_do(self, waiting: list[Worker], now: float) -> bool:
        """All workers are reaped, and recovered too, unless no dispatcher runs or RECOVERY_PATIENCE has passed."""
        if any(worker.state is not WorkerState.DEAD for worker in waiting):
            return False
        return not waiting or not self._children[Role.DISPATCHER].pid or now >= self._deadline

    def _end_roles(self) -> list[ev.Action]:
        """One process after the other: the server last, since the others use it."""
        for role in _ORDER:
            child = self._children.get(role)
            if child is not None and child.pid:
                return end_role(self._children, role)
        return [self._enter(Phase.ENDED), _log(logging.INFO, "ended"), ev.Exit(self.exit_status)]


def end_role(children: Mapping[Role, Child], role: Role) -> list[ev.Action]:
    """Tell the process of a role to end, unless it has been told."""
    child = children.get(role)
    if child is None or not child.pid or child.told_to_end:
        return []
    child.told_to_end = True
    return [ev.Signal(child.pid, _END.get(role, signal.SIGTERM), False)]
