"""What the master decides: a transition function (state, event, now) → actions, without a single system call.

Times are seconds of CLOCK_MONOTONIC. The master owns a child from the moment it asks for it until it has reaped it. It
gives an entry of the scoreboard to a new worker only when the dispatcher has recovered the job of the last one.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from typing import Any

from queuejobs.shared.messages import EXIT_CANNOT_IMPORT

from . import events as ev
from .children import Child, Phase, exporter
from .counters import Counters, ExitCause
from .deaths import notice, outcome
from .events import Plan, Role
from .events import log as _log
from .introductions import introduce, introductions
from .limits import ABORT_GRACE, INTERVAL, Watch, abort, kill
from .pools import Pools, Worker, WorkerState
from .reload import Succession
from .shutdown import Shutdown, end_role


class Supervision:
    """The state of the master."""

    def __init__(self, roles: tuple[Role, ...], plan: Plan, entries: int) -> None:
        self.children = {role: Child() for role in roles}
        self._exporter = False
        self._want_exporter(plan)
        self.counters = Counters()
        self.pools = Pools(dict(plan.targets), plan.max_workers, entries)
        self.limits = plan.limits
        self.succession = Succession()
        self.watch = Watch(plan.limits)
        self._shutdown = Shutdown(self.children, self.pools)
        # by pid: children that ended and that nobody has named; a worker may die before the template can name it
        self._strangers: dict[int, ev.Reaped] = {}
        self._handlers: dict[type[ev.Event], Callable[[Any, float], list[ev.Action]]] = {
            ev.Started: self._on_started,
            ev.Ready: self._on_ready,
            ev.Broken: self._on_broken,
            ev.Named: self._on_named,
            ev.Hello: self._on_hello,
            ev.Reaped: self._on_reaped,
            ev.Seen: self._on_seen,
            ev.CancelWanted: self._on_cancel_wanted,
            ev.Recovered: self._on_recovered,
            ev.Wanted: self._on_wanted,
            ev.Reload: self._on_reload,
            ev.Compiled: self._on_compiled,
            ev.ChangeRoot: self._on_change_root,
            ev.EndSoon: self._on_end_soon,
            ev.EndNow: self._on_end_now,
            ev.Tick: self._on_tick,
        }

    @property
    def phase(self) -> Phase:
        """Where the master is in its life."""
        return self._shutdown.phase

    def handle(self, event: ev.Event, now: float) -> list[ev.Action]:
        """What to do about one event, then what has become due. ``now`` never goes back."""
        return self._handlers[type(event)](event, now) + self._due(now)

    def next_deadline(self, now: float) -> float:
        """The moment, later than ``now``, at which a Tick must be handled if no other event is."""
        moments = [now + INTERVAL]
        moments += [child.backoff.until for child in self.children.values() if not child.pid]
        moments += [backoff.until for backoff in self.pools.backoffs.values()]
        moments += [
            worker.deadline for worker in self.pools.alive() if worker.state is not WorkerState.GREETED
        ]
        deadline = self._shutdown.deadline()
        moments += [] if deadline is None else [deadline]
        return min(moment for moment in moments if moment > now)

    # processes of a role

    def _on_started(self, event: ev.Started, now: float) -> list[ev.Action]:
        child = self.children[event.role]
        child.pid, child.starting, child.since = event.pid, False, now
        return [_log(logging.INFO, f"{event.role.value} started", pid=event.pid)]

    def _on_ready(self, event: ev.Ready, now: float) -> list[ev.Action]:
        if event.role is Role.SUCCESSOR:
            return self._succeeded()
        child = self.children[event.role]
        child.ready = True
        child.backoff.deaths = 0
        if event.role is not Role.DISPATCHER:
            return []
        return [_log(logging.INFO, "dispatcher ready")]

    # reload

    def _on_reload(self, event: ev.Reload, now: float) -> list[ev.Action]:
        if self.phase is not Phase.RUNNING:
            return []
        return [ev.Compile()] if self.succession.begin() else []

    def _on_compiled(self, event: ev.Compiled, now: float) -> list[ev.Action]:
        if event.plan is None or self.phase is not Phase.RUNNING:
            return self._not_succeeded("the configuration is refused, the old one stays in force")
        self.succession.plan = event.plan
        self.children[Role.SUCCESSOR] = Child(starting=True)
        return [ev.Exec(Role.SUCCESSOR)]

    def _succeeded(self) -> list[ev.Action]:
        successor = self.children.pop(Role.SUCCESSOR)
        successor.ready = True
        self.children[Role.TEMPLATE] = successor
        plan = self.succession.succeed()
        self.pools.retired = self.pools.generation
        self.pools.targets, self.pools.max_workers = dict(plan.targets), plan.max_workers
        self.limits = plan.limits
        self.watch.configure(plan.limits)
        self.pools.wanted.clear()
        self._want_exporter(plan)
        return [
            ev.Succeed(),
            ev.TellSettings(),
            ev.TellRetire(self.pools.retired),
            *end_role(self.children, Role.EXPORTER),  # the next one has the new settings
            _log(logging.INFO, "reloaded", workers=sum(plan.targets.values())),
            *self._begin_queued_reload(),
        ]

    def _want_exporter(self, plan: Plan) -> None:
        self._exporter = plan.exporter
        if plan.exporter:
            self.children.setdefault(Role.EXPORTER, exporter())

    def _not_succeeded(self, why: str) -> list[ev.Action]:
        self.children.pop(Role.SUCCESSOR, None)
        self.succession.give_up()
        return [ev.Discard(), _log(logging.ERROR, "reload failed", why=why), *self._begin_queued_reload()]

    def _begin_queued_reload(self) -> list[ev.Action]:
        """A HUP that came during the last reload: the files may have changed after that one had read them."""
        return [ev.Compile()] if self.phase is Phase.RUNNING and self.succession.begin_queued() else []

    def _on_change_root(self, event: ev.ChangeRoot, now: float) -> list[ev.Action]:
        self.succession.root_change += event.change
        return [ev.TellRoot(self.succession.root_change)]

    def _on_broken(self, event: ev.Broken, now: float) -> list[ev.Action]:
        return [_log(logging.ERROR, "the application cannot be imported", reason=event.reason)]

    # workers

    def _on_named(self, event: ev.Named, now: float) -> list[ev.Action]:
        worker = self.pools.match(event.entry, event.generation)
        if worker is None or worker.state is not WorkerState.ASKED:
            return []
        if event.pid == 0:
            return self._lost_before_hello(worker, now, "the template could not fork")
        worker.pid = event.pid
        return [worker.change_state(WorkerState.NAMED), *self._handle_early_death(worker, now)]

    def _on_hello(self, event: ev.Hello, now: float) -> list[ev.Action]:
        worker = self.pools.match(event.entry, event.generation)
        if worker is None or worker.state not in (WorkerState.ASKED, WorkerState.NAMED):
            return []
        worker.pid, worker.start_time = event.pid, event.start_time
        actions: list[ev.Action] = [worker.change_state(WorkerState.GREETED)]
        if self.phase is not Phase.RUNNING:
            actions.append(ev.Signal(worker.pid, signal.SIGTERM, False))
        elif self.children[Role.DISPATCHER].pid:
            actions.append(introduce(worker))
        return actions + self._handle_early_death(worker, now)

    def _on_recovered(self, event: ev.Recovered, now: float) -> list[ev.Action]:
        worker = self.pools.match(event.entry, event.generation)
        if worker is not None and worker.state is WorkerState.DEAD:
            del self.pools.workers[worker.entry]
        return []

    def _on_wanted(self, event: ev.Wanted, now: float) -> list[ev.Action]:
        self.pools.wanted = event.channels
        return []

    def _lost_before_hello(self, worker: Worker, now: float, why: str) -> list[ev.Action]:
        del self.pools.workers[worker.entry]
        self.counters.count_exit(worker.channel, ExitCause.BOOT)
        self.pools.backoff(worker.channel).died(now, useful=False)
        return [
            ev.Forget(worker.entry),
            _log(
                logging.WARNING, "worker lost at boot",
                channel=worker.channel, worker=worker.pid or None, why=why,
            ),
        ]  # fmt: skip

    # deaths

    def _on_reaped(self, event: ev.Reaped, now: float) -> list[ev.Action]:
        for role, child in self.children.items():
            if child.pid == event.pid:
                return self._role_died(role, child, event.status, now)
        worker = self.pools.by_pid(event.pid)
        if worker is not None:
            return self._worker_died(worker, event, now)
        if not any(worker.state is WorkerState.ASKED for worker in self.pools.alive()):
            # no worker is to be named: these were orphans of jobs, and a new worker may get the pid of one of them
            self._strangers.clear()
        else:
            self._strangers[event.pid] = event
        return []

    def _handle_early_death(self, worker: Worker, now: float) -> list[ev.Action]:
        """The worker whose pid is known from now on may have been reaped already."""
        event = self._strangers.pop(worker.pid, None)
        return [] if event is None else self._worker_died(worker, event, now)

    def _role_died(self, role: Role, child: Child, status: int, now: float) -> list[ev.Action]:
        if role is Role.SUCCESSOR:
            return self._not_succeeded(f"the new template ended ({outcome(status)}), the old one stays")
        expected = child.told_to_end
        first_import = role is Role.TEMPLATE and not child.ready and _code(status) == EXIT_CANNOT_IMPORT
        child.pid, child.ready, child.told_to_end = 0, False, False
        actions: list[ev.Action] = []
        if role is Role.TEMPLATE:
            # nobody can name the workers that have not said hello; others are asked for, of a new generation
            for worker in [w for w in self.pools.alive() if w.state is not WorkerState.GREETED]:
                del self.pools.workers[worker.entry]
                actions.append(ev.Forget(worker.entry))
        if expected:
            return [*actions, _log(logging.INFO, f"{role.value} ended")]
        child.backoff.died(now, useful=False)
        actions.append(
            _log(logging.ERROR, f"{role.value} died", how=outcome(status), retry=child.backoff.until - now)
        )
        if first_import and not self.pools.workers and self.phase is Phase.RUNNING:
            # nothing has run yet: an error at once is worth more than retries
            self._shutdown.exit_status = 2
            actions += self._on_end_now(ev.EndNow(), now)
        return actions

    def _worker_died(self, worker: Worker, event: ev.Reaped, now: float) -> list[ev.Action]:
        status = event.status
        if worker.state is not WorkerState.GREETED:
            return self._lost_before_hello(worker, now, outcome(status))
        state_changed = worker.change_state(WorkerState.DEAD)
        charge = self.watch.charge(worker.entry, worker.generation)
        worker.death = notice(worker, event, charge)
        self.counters.count_death(worker.channel, event, charge, replaced=self.phase is Phase.RUNNING)
        if self.phase is Phase.RUNNING and status != 0:
            self.pools.backoff(worker.channel).died(now, event.useful)
        actions: list[ev.Action] = [
            state_changed,
            ev.Forget(worker.entry),
            _log(
                logging.WARNING if event.busy or status != 0 else logging.INFO, "worker ended",
                worker=worker.pid, channel=worker.channel, how=outcome(status), busy=event.busy,
            ),
        ]  # fmt: skip
        if self.children[Role.DISPATCHER].pid:
            actions.append(worker.death)
        return actions

    # watching

    def _on_seen(self, event: ev.Seen, now: float) -> list[ev.Action]:
        actions = self.watch.look(event.readings, now)
        dispatcher = self.children[Role.DISPATCHER]
        # a dispatcher that hangs is worse than a dead one: nobody takes over what it has granted
        if dispatcher.pid and self.watch.silent_too_long(event.dispatcher, dispatcher.since, now):
            actions.append(_log(logging.ERROR, "dispatcher hung, killed", pid=dispatcher.pid))
            actions.append(ev.Signal(dispatcher.pid, signal.SIGKILL, False))
        return actions

    def _on_cancel_wanted(self, event: ev.CancelWanted, now: float) -> list[ev.Action]:
        return self.watch.cancel(event.reading, event.job, event.attempt, now)

    # the end

    def _on_end_soon(self, event: ev.EndSoon, now: float) -> list[ev.Action]:
        return self._shutdown.begin(now, self.limits.graceful_timeout)

    def _on_end_now(self, event: ev.EndNow, now: float) -> list[ev.Action]:
        return self._shutdown.hurry(now, self.limits.graceful_timeout)

    # what is due

    def _due(self, now: float) -> list[ev.Action]:
        return self._keep_running(now) if self.phase is Phase.RUNNING else self._shutdown.due(now)

    def _keep_running(self, now: float) -> list[ev.Action]:
        return [*self._start_roles(now), *self._end_late_workers(now), *self._fork_missing(now)]

    def _start_roles(self, now: float) -> list[ev.Action]:
        """Start each process that does not run; the server first, since the others use it."""
        actions: list[ev.Action] = []
        server = self.children.get(Role.SERVER)
        for role, child in self.children.items():
            if role is Role.SUCCESSOR or (role is Role.EXPORTER and not self._exporter):
                continue
            if role is not Role.SERVER and server is not None and not server.ready:
                continue
            if not child.pid and not child.starting and child.backoff.until <= now:
                child.starting = True
                actions.append(ev.Exec(role))
                if role is Role.DISPATCHER:
                    actions += introductions(self.pools, self.succession)
        return actions

    def _end_late_workers(self, now: float) -> list[ev.Action]:
        """End workers that have not said hello in time, first by the signal that leaves their tracebacks."""
        actions: list[ev.Action] = []
        for worker in self.pools.alive():
            if worker.state is WorkerState.GREETED or now <= worker.deadline:
                continue
            if worker.pid:
                actions += abort(worker.pid) if not worker.aborted else kill(worker.pid)
                worker.aborted, worker.deadline = True, now + ABORT_GRACE
            else:
                actions += self._lost_before_hello(worker, now, "no answer from the template")
        return actions

    def _fork_missing(self, now: float) -> list[ev.Action]:
        if not self.children[Role.TEMPLATE].ready:
            return []
        reserved = [
            self.pools.reserve(channel, now + self.limits.boot_timeout) for channel in self.pools.missing(now)
        ]
        return [ev.Fork(worker.entry, worker.generation, worker.channel) for worker in reserved]

    def _on_tick(self, event: ev.Tick, now: float) -> list[ev.Action]:
        return []


def _code(status: int) -> int | None:
    return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else None
