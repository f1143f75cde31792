"""The master's core while every process may die or answer at any time, in any order."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from queuemaster.master.core import events as ev
from queuemaster.master.core.backoff import LONGEST
from queuemaster.master.core.children import Phase
from queuemaster.master.core.events import Limits, Plan, Role
from queuemaster.master.core.pools import FORKS_AT_ONCE, WorkerState
from queuemaster.master.core.shutdown import RECOVERY_PATIENCE
from queuemaster.master.core.supervision import Supervision

GRACE, BOOT = 30.0, 20.0
MAX_WORKERS, ENTRIES = 4, 6
WORKER_EVENTS = (ev.Named, ev.Hello, ev.Recovered)
CHANNELS = ("root", "root.a", "root.b")
KILLED, ENDED, CRASHED = int(signal.SIGKILL), 0, 1 << 8


@dataclass
class Process:
    """A worker as it really is, whatever the master knows of it."""

    pid: int
    entry: int
    generation: int
    greeted: bool = False
    reaped: bool = False
    told: bool = False  # the current dispatcher knows that the worker is dead
    recovered: bool = False


class World(RuleBasedStateMachine):
    """The kernel, the template, the workers and the dispatcher."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.pids = 100
        self.core = Supervision(
            (Role.TEMPLATE, Role.DISPATCHER),
            Plan({"root": 2, "root.a": 1}, MAX_WORKERS, Limits(GRACE, BOOT, 5.0), exporter=True),
            ENTRIES,
        )
        self.roles: dict[Role, int] = {}
        self.exec_asked: list[Role] = []
        self.requests: list[ev.Fork] = []  # requests that the template has not read
        self.unnamed: list[Process] = []  # workers that the template has forked and not reported
        self.workers: dict[int, Process] = {}  # every worker that ever existed, by pid
        self.asked: dict[tuple[int, int], str] = {}
        self.signals = 0
        self.exited: int | None = None
        # the logged state by machine: "master", or the generation of a worker
        self.states: dict[object, object] = {"master": Phase.RUNNING.value}

    # the shell: carries out the core's actions, and checks them

    def tell(self, event: ev.Event) -> None:
        assert self.exited is None
        for action in self.core.handle(event, self.now):
            assert self.exited is None, "no action may follow Exit"
            self.carry_out(action)
        # the shell starts a process while it carries out the action, and reports it at once
        while self.exec_asked and self.exited is None:
            role = self.exec_asked.pop()
            self.pids += 1
            self.roles[role] = self.pids
            self.tell(ev.Started(role, self.pids))

    def carry_out(self, action: ev.Action) -> None:
        if isinstance(action, ev.Exec):
            assert action.role not in self.roles, "a second process of one role was started"
            self.exec_asked.append(action.role)
            if action.role is Role.DISPATCHER:
                for worker in self.workers.values():
                    worker.told = False
        elif isinstance(action, ev.Fork):
            assert Role.TEMPLATE in self.roles
            for worker in self.workers.values():
                if worker.entry == action.entry and worker.greeted:
                    assert worker.recovered, "an entry was reused before its worker was recovered"
            assert (action.entry, action.generation) not in self.asked, "a generation was used twice"
            self.asked[action.entry, action.generation] = action.channel
            self.requests.append(action)
        elif isinstance(action, ev.Signal):
            self.signals += 1
            target = self.workers.get(action.pid)
            assert action.pid in self.roles.values() or (target is not None and not target.reaped), (
                "a signal was sent to a pid that may have been reused"
            )
        elif isinstance(action, ev.Introduce):
            worker = self.workers[action.pid]
            assert worker.greeted
            assert not worker.reaped
        elif isinstance(action, ev.TellDeath):
            worker = self.workers[action.pid]
            assert (worker.entry, worker.generation) == (action.entry, action.generation)
            assert worker.reaped
            worker.told = True
        elif isinstance(action, ev.Exit):
            self.exited = action.status
        elif isinstance(action, ev.Log) and action.text == "state changed":
            step = dict(action.context)
            machine = step.get("generation", "master")
            assert step["old"] == self.states.get(machine, WorkerState.ASKED.value), (
                "a state change was not logged"
            )
            self.states[machine] = step["new"]

    @initialize()
    def begin(self) -> None:
        self.tell(ev.Tick())

    # time

    @precondition(lambda self: self.exited is None)
    @rule(seconds=st.sampled_from([0.01, 0.5, 1.0, 5.0, BOOT + 1, LONGEST + 1]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.tell(ev.Tick())

    # processes with a role get ready and die

    @precondition(lambda self: self.exited is None and self.roles)
    @rule(data=st.data())
    def a_role_gets_ready(self, data: st.DataObject) -> None:
        self.tell(ev.Ready(data.draw(st.sampled_from(sorted(self.roles, key=str)))))

    @precondition(lambda self: self.exited is None and self.roles)
    @rule(data=st.data(), status=st.sampled_from([KILLED, CRASHED]))
    def a_role_dies(self, data: st.DataObject, status: int) -> None:
        self.end_role(data.draw(st.sampled_from(sorted(self.roles, key=str))), status)

    def end_role(self, role: Role, status: int) -> None:
        pid = self.roles.pop(role)
        if role is Role.TEMPLATE:
            self.requests.clear()
            # its unreported workers that have not said hello see the end of their link and leave
            self.unnamed.clear()
        self.tell(ev.Reaped(pid, status))

    # the template

    @precondition(lambda self: self.exited is None and self.requests)
    @rule()
    def the_template_forks(self) -> None:
        request = self.requests.pop(0)
        self.pids += 1
        worker = Process(self.pids, request.entry, request.generation)
        self.workers[worker.pid] = worker
        self.unnamed.append(worker)

    @precondition(lambda self: self.exited is None and self.requests)
    @rule()
    def the_template_cannot_fork(self) -> None:
        request = self.requests.pop(0)
        self.tell(ev.Named(request.entry, request.generation, 0))

    @precondition(lambda self: self.exited is None and self.unnamed)
    @rule()
    def the_template_names(self) -> None:
        worker = self.unnamed.pop(0)
        self.tell(ev.Named(worker.entry, worker.generation, worker.pid))

    # workers

    def living(self) -> list[Process]:
        return [worker for worker in self.workers.values() if not worker.reaped]

    @precondition(lambda self: self.exited is None and any(not w.greeted for w in self.living()))
    @rule(data=st.data())
    def a_worker_says_hello(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from([w for w in self.living() if not w.greeted]))
        slot = self.core.pools.match(worker.entry, worker.generation)
        if slot is None:
            return  # the link is closed, so the message is lost
        worker.greeted = True
        self.tell(ev.Hello(worker.entry, worker.generation, worker.pid, worker.pid))

    @precondition(lambda self: self.exited is None and self.living())
    @rule(
        data=st.data(),
        status=st.sampled_from([ENDED, KILLED, CRASHED]),
        busy=st.booleans(),
        useful=st.booleans(),
    )
    def a_worker_dies(self, data: st.DataObject, status: int, busy: bool, useful: bool) -> None:
        worker = data.draw(st.sampled_from(self.living()))
        worker.reaped = True
        self.tell(ev.Reaped(worker.pid, status, busy, useful))

    @precondition(lambda self: self.exited is None)
    @rule(pid=st.integers(10_000, 10_003))
    def a_stranger_dies(self, pid: int) -> None:
        self.tell(ev.Reaped(pid, KILLED))

    # the dispatcher

    @precondition(
        lambda self: self.exited is None and any(w.told and not w.recovered for w in self.workers.values())
    )
    @rule(data=st.data())
    def the_dispatcher_recovers(self, data: st.DataObject) -> None:
        unrecovered = [w for w in self.workers.values() if w.told and not w.recovered]
        worker = data.draw(st.sampled_from(unrecovered))
        worker.recovered = True
        self.tell(ev.Recovered(worker.entry, worker.generation))

    @precondition(lambda self: self.exited is None and self.core.phase is Phase.RUNNING)
    @rule(
        entry=st.integers(0, ENTRIES),
        kind=st.sampled_from([ev.Named, ev.Hello, ev.Recovered]),
        back=st.integers(1, 3),
    )
    def a_message_of_an_older_generation(self, entry: int, kind: type, back: int) -> None:
        generation = self.core.pools.generation - back
        current = self.core.pools.workers.get(entry)
        if current is not None and current.generation == generation:
            return
        before = repr(current)
        self.tell(kind(entry, generation, *{ev.Named: (20_000,), ev.Hello: (20_000, 1)}.get(kind, ())))
        slot = self.core.pools.workers.get(entry)
        if current is not None:
            assert slot is not None
            assert slot.pid != 20_000
            if slot.generation == current.generation and current.state.value != "named":
                assert repr(slot) == before

    @precondition(lambda self: self.exited is None and Role.DISPATCHER in self.roles)
    @rule(channels=st.dictionaries(st.sampled_from(CHANNELS), st.integers(0, 9)))
    def the_dispatcher_wants_workers(self, channels: dict[str, int]) -> None:
        self.tell(ev.Wanted(channels))

    # the end

    @precondition(lambda self: self.exited is None)
    @rule(event=st.sampled_from([ev.EndSoon(), ev.EndNow()]))
    def told_to_end(self, event: ev.EndSoon | ev.EndNow) -> None:
        self.tell(event)

    @precondition(lambda self: self.exited is not None)
    @rule()
    def it_is_over(self) -> None:
        assert self.exited == 0

    def teardown(self) -> None:
        """Whatever happened before, a shutdown takes bounded time and a bounded number of signals."""
        if self.exited is None:
            self.tell(ev.EndSoon())
        began, before = self.now, self.signals
        while self.exited is None:
            assert self.now - began <= GRACE + RECOVERY_PATIENCE + 3, "the shutdown takes too long"
            assert self.signals - before <= 20 + 2 * len(self.workers)
            self.obey_kills()
            if self.exited is None:
                self.now += 1.0
                self.tell(ev.Tick())

    def obey_kills(self) -> None:
        """Processes die of the signals they get; none answers any more."""
        if self.core.phase is not Phase.DRAINING:
            for worker in self.living():
                worker.reaped = True
                if self.exited is None:
                    self.tell(ev.Reaped(worker.pid, KILLED))
        for role in list(self.roles):
            if self.exited is None and self.core.children[role].told_to_end:
                self.end_role(role, ENDED)

    # always

    @invariant()
    def bounds(self) -> None:
        alive = self.core.pools.alive()
        assert len(alive) <= MAX_WORKERS
        assert sum(worker.state.value in ("asked", "named") for worker in alive) <= FORKS_AT_ONCE
        assert len(self.core.pools.workers) <= ENTRIES

    @invariant()
    def every_change_of_state_is_logged(self) -> None:
        assert self.states["master"] == self.core.phase.value
        for worker in self.core.pools.workers.values():
            assert self.states.get(worker.generation, WorkerState.ASKED.value) == worker.state.value

    @invariant()
    def every_death_is_told_until_it_is_recovered(self) -> None:
        if self.exited is not None or self.core.phase in (Phase.ENDING, Phase.ENDED):
            return
        if Role.DISPATCHER in self.roles:
            for worker in self.workers.values():
                if worker.greeted and worker.reaped and not worker.recovered:
                    assert worker.told, f"the dispatcher does not know that {worker} is dead"

    @invariant()
    def the_next_moment_is_to_come(self) -> None:
        assert self.now < self.core.next_deadline(self.now) <= self.now + 1.0


World.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestSupervision = World.TestCase
