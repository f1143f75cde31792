"""The master's core: events go in, actions come out."""

from __future__ import annotations

import logging
import signal
from typing import get_args

import pytest

from queuejobs.shared.messages import EXIT_CANNOT_IMPORT
from queuejobs.shared.stop_causes import Cause
from queuejobs.shared.transitions import IllegalTransition
from queuemaster.master import shell
from queuemaster.master.core import deaths
from queuemaster.master.core import events as ev
from queuemaster.master.core.children import EXPORTER_PAUSE, Phase
from queuemaster.master.core.events import Limits, Plan, Role
from queuemaster.master.core.limits import ABORT_GRACE, Charge, Step
from queuemaster.master.core.pools import Worker, WorkerState
from queuemaster.master.core.shutdown import Shutdown
from support.mastercore import BOOT, DIED, GRACE, LEFT, PIDS, World, of, up


def test_every_event_has_its_handler() -> None:
    assert World(Role.TEMPLATE).core._handlers.keys() == set(get_args(ev.Event))


def test_every_action_has_its_handler() -> None:
    assert set(shell._DO) == set(get_args(ev.Action))


# states


def test_a_worker_takes_no_step_that_makes_no_sense() -> None:
    worker = Worker(3, 7, "root", 0.0, pid=50)
    with pytest.raises(IllegalTransition, match="worker: dead cannot follow asked"):
        worker.change_state(WorkerState.DEAD)
    assert worker.state is WorkerState.ASKED
    for state in (WorkerState.NAMED, WorkerState.GREETED, WorkerState.DEAD):
        worker.change_state(state)
    for state in WorkerState:
        with pytest.raises(IllegalTransition):
            worker.change_state(state)


def test_a_change_of_state_is_logged() -> None:
    line = Worker(3, 7, "root", 0.0, pid=50).change_state(WorkerState.GREETED)
    assert (line.level, line.text) == (logging.DEBUG, "state changed")
    assert dict(line.context) == {
        "of": "worker", "old": "asked", "new": "greeted",
        "worker": 50, "channel": "root", "entry": 3, "generation": 7,
    }  # fmt: skip


def test_the_master_passes_its_phases_in_order_and_says_so() -> None:
    world, (fork,) = up()
    world.greet(fork, 50)
    actions = world.tell(ev.EndSoon(), ev.EndNow(), ev.Reaped(50, DIED), ev.Reaped(11, LEFT))
    actions += world.tell(ev.Recovered(fork.entry, fork.generation), ev.Reaped(12, LEFT))
    steps = [dict(line.context) for line in of(ev.Log, actions) if line.text == "state changed"]
    phases = [(step["old"], step["new"]) for step in steps if step["of"] == "master"]
    assert phases == [
        ("running", "draining"),
        ("draining", "recovering"),
        ("recovering", "ending"),
        ("ending", "ended"),
    ]


def test_a_phase_cannot_be_gone_back_to() -> None:
    world, _ = up()
    shutdown = Shutdown(world.core.children, world.core.pools)
    shutdown.begin(100.0, GRACE)
    for phase in (Phase.RUNNING, Phase.DRAINING, Phase.ENDED):
        with pytest.raises(IllegalTransition, match=f"master: {phase.value} cannot follow draining"):
            shutdown._enter(phase)
    assert shutdown.phase is Phase.DRAINING


# start


def test_the_server_first_then_whoever_uses_it() -> None:
    world = World(Role.SERVER, Role.TEMPLATE, Role.DISPATCHER)
    assert of(ev.Exec, world.tell(ev.Tick())) == [ev.Exec(Role.SERVER)]
    assert of(ev.Exec, world.tell(ev.Started(Role.SERVER, 10))) == []
    assert of(ev.Exec, world.tell(ev.Ready(Role.SERVER))) == [
        ev.Exec(Role.TEMPLATE),
        ev.Exec(Role.DISPATCHER),
    ]


def test_workers_are_asked_for_once_the_template_is_ready() -> None:
    world = World(Role.TEMPLATE, Role.DISPATCHER, pools={"root": 2, "root.a": 1})
    world.tell(ev.Tick())
    assert of(ev.Fork, world.tell(ev.Started(Role.TEMPLATE, 11))) == []
    forks = of(ev.Fork, world.tell(ev.Ready(Role.TEMPLATE)))
    assert [fork.channel for fork in forks] == ["root", "root", "root.a"]
    assert len({fork.entry for fork in forks}) == 3
    assert of(ev.Fork, world.tell(ev.Tick())) == []


def test_a_worker_that_says_hello_is_introduced() -> None:
    world, (fork,) = up()
    assert of(ev.Introduce, world.greet(fork, 50)) == [
        ev.Introduce(fork.entry, fork.generation, "root", 50, 50)
    ]


def test_a_new_dispatcher_is_told_of_the_living_and_the_dead_before_it_begins() -> None:
    world, forks = up({"root": 2})
    for pid, fork in enumerate(forks, 50):
        world.greet(fork, pid)
    world.tell(ev.Reaped(50, DIED, busy=True))
    actions = world.tell(ev.Reaped(12, DIED))
    introductions = [
        action
        for action in actions
        if isinstance(action, ev.Exec | ev.Introduce | ev.TellDeath | ev.TellBegin)
    ]
    assert [type(action) for action in introductions] == [ev.Exec, ev.TellDeath, ev.Introduce, ev.TellBegin]
    assert of(ev.TellDeath, actions)[0].cause == "worker 50 died: SIGKILL"


def test_a_process_that_is_being_started_is_not_started_again() -> None:
    world = World(Role.TEMPLATE, Role.DISPATCHER)
    assert len(of(ev.Exec, world.tell(ev.Tick()))) == 2
    assert of(ev.Exec, world.after(1)) == []


def test_a_dispatcher_that_was_never_seen_has_its_time_from_its_start_on() -> None:
    world, _ = up()
    kill = ev.Signal(PIDS[Role.DISPATCHER], signal.SIGKILL, False)
    began = world.now
    while world.now < began + BOOT:
        assert kill not in world.tell(ev.Seen((), float("inf")))
        world.now += 1.0
    world.now += 1.0
    assert kill in world.tell(ev.Seen((), float("inf")))


# deaths


def test_the_entry_of_a_dead_worker_is_kept_until_its_job_is_put_back() -> None:
    world, (fork,) = up()
    world.greet(fork, 50)
    actions = world.tell(ev.Reaped(50, DIED, busy=True))
    assert of(ev.TellDeath, actions)[0].cause == "worker 50 died: SIGKILL"
    (second,) = of(ev.Fork, actions)
    assert second.entry != fork.entry
    world.greet(second, 51)
    world.tell(ev.Recovered(fork.entry, fork.generation))
    (third,) = of(ev.Fork, world.tell(ev.Reaped(51, DIED)))
    assert third.entry == fork.entry
    assert third.generation > second.generation


def test_a_worker_that_was_idle_died_of_nothing_that_a_job_did() -> None:
    world, (fork,) = up()
    world.greet(fork, 50)
    assert of(ev.TellDeath, world.tell(ev.Reaped(50, DIED)))[0].cause is None


def test_what_an_idle_worker_hung_for_is_charged_to_no_job() -> None:
    """Job 0 is charged only if the worker may have claimed a job between the last look and its death."""
    worker = Worker(0, 1, "root", 0.0, pid=50, start_time=1)
    run = ev.Run(0, 7, 1)
    charge = Charge(0, 0, "worker 50 hung", Cause.NONE, Step.KILLED, 1.0)
    notice = deaths.notice(worker, ev.Reaped(50, DIED, True, True, run), charge)
    assert notice.cause is None
    claiming = ev.Reaped(50, DIED, True, True, ev.Run(0, 0, 0))
    notice = deaths.notice(worker, claiming, None)
    assert (notice.job, notice.attempt, notice.cause) == (0, 0, "worker 50 died: SIGKILL")


def test_a_worker_may_be_reaped_before_anybody_names_it() -> None:
    world, (fork,) = up()
    assert of(ev.Fork, world.tell(ev.Reaped(50, DIED))) == []
    actions = world.tell(ev.Named(fork.entry, fork.generation, 50))
    assert of(ev.Forget, actions) == [ev.Forget(fork.entry)]
    assert [action.channel for action in of(ev.Fork, actions)] == ["root"]


def test_a_hello_may_be_read_after_the_death() -> None:
    world, (fork,) = up()
    world.tell(ev.Reaped(50, DIED, busy=True))
    actions = world.tell(ev.Hello(fork.entry, fork.generation, 50, 1))
    kinds = [type(action) for action in actions if isinstance(action, ev.Introduce | ev.TellDeath)]
    assert kinds == [ev.Introduce, ev.TellDeath]


def test_who_does_not_say_hello_in_time_is_ended_or_given_up() -> None:
    """It first gets SIGABRT, which writes its tracebacks, and then SIGKILL."""
    world, forks = up({"root": 2})
    world.tell(ev.Named(forks[0].entry, forks[0].generation, 50))
    actions = world.after(BOOT + 1)
    assert of(ev.Signal, actions) == [
        ev.Signal(50, signal.SIGABRT, False),
        ev.Signal(50, signal.SIGCONT, False),
    ]
    assert of(ev.Forget, actions) == [ev.Forget(forks[1].entry)]
    assert [fork.channel for fork in of(ev.Fork, actions)] == ["root"]
    assert of(ev.Signal, world.after(ABORT_GRACE + 0.1)) == [ev.Signal(50, signal.SIGKILL, True)]


def test_with_the_template_go_those_that_have_not_said_hello() -> None:
    world, forks = up({"root": 2})
    world.greet(forks[0], 50)
    actions = world.tell(ev.Reaped(11, DIED))
    assert of(ev.Forget, actions) == [ev.Forget(forks[1].entry)]
    assert of(ev.Exec, actions) == [ev.Exec(Role.TEMPLATE)]
    assert of(ev.Fork, actions) == []
    (fork,) = of(ev.Fork, world.tell(ev.Started(Role.TEMPLATE, 21), ev.Ready(Role.TEMPLATE)))
    assert fork.generation > forks[1].generation
    assert of(ev.Introduce, world.tell(ev.Hello(forks[1].entry, forks[1].generation, 51, 1))) == []


def test_back_off_grows_without_useful_work_and_is_refilled_by_it() -> None:
    world, forks = up()
    waits, pid = [], 50
    for useful in [False] * 7 + [True] + [False] * 4:
        pid += 1
        began, fork = world.now, forks[0]
        world.greet(fork, pid)
        forks = of(ev.Fork, world.tell(ev.Reaped(pid, DIED, busy=True, useful=useful)))
        world.tell(ev.Recovered(fork.entry, fork.generation))
        while not forks:
            world.now = world.core.next_deadline(world.now)
            forks = of(ev.Fork, world.tell(ev.Tick()))
        waits.append(round(world.now - began, 3))
    assert waits == [0, 0, 0, 0.1, 0.2, 0.4, 0.8, 0, 0, 0, 0, 0.1]


def test_workers_that_retire_cost_nothing() -> None:
    world, forks = up()
    for pid in range(50, 70):
        world.greet(forks[0], pid)
        forks = of(ev.Fork, world.tell(ev.Reaped(pid, LEFT)))
        assert forks, "the worker is replaced at once"
        world.tell(*(ev.Recovered(entry, generation) for entry in range(16) for generation in range(40)))


def test_an_application_that_cannot_be_imported_ends_the_first_start() -> None:
    world = World(Role.TEMPLATE, Role.DISPATCHER)
    world.tell(ev.Tick(), ev.Started(Role.TEMPLATE, 11), ev.Started(Role.DISPATCHER, 12))
    actions = world.tell(ev.Broken("no module"), ev.Reaped(11, EXIT_CANNOT_IMPORT << 8))
    assert of(ev.Signal, actions) == [ev.Signal(12, signal.SIGTERM, False)]
    assert of(ev.Exit, world.tell(ev.Reaped(12, LEFT))) == [ev.Exit(2)]


def test_later_on_it_is_tried_again() -> None:
    world, (fork,) = up()
    world.greet(fork, 50)
    world.tell(ev.Reaped(11, DIED), ev.Started(Role.TEMPLATE, 21))
    actions = world.tell(ev.Broken("no module"), ev.Reaped(21, EXIT_CANNOT_IMPORT << 8))
    assert of(ev.Signal, actions) == []
    assert world.core.phase is Phase.RUNNING


# workers on demand


def test_what_is_wanted_goes_before_what_is_kept_ready_and_never_beyond_the_most() -> None:
    world, forks = up({"root": 0}, most=3)
    assert forks == []
    forks = of(ev.Fork, world.tell(ev.Wanted({"root.a": 2, "root.b": 4})))
    assert [fork.channel for fork in forks] == ["root.a", "root.a", "root.b"]
    world.greet(forks[0], 50)
    assert of(ev.Fork, world.tell(ev.Tick())) == []
    assert of(ev.Fork, world.tell(ev.Wanted({"root.b": 4}))) == []
    (fork,) = of(ev.Fork, world.tell(ev.Reaped(50, LEFT)))
    assert fork.channel == "root.b"


def test_a_worker_that_came_while_it_was_asked_for_is_not_asked_for_again() -> None:
    world, _ = up({"root": 0}, most=8)
    (fork,) = of(ev.Fork, world.tell(ev.Wanted({"root.a": 1})))
    world.greet(fork, 50)
    assert of(ev.Fork, world.tell(ev.Wanted({"root.a": 1}))) == [], (
        "the dispatcher sent this before it knew the new worker"
    )
    assert len(of(ev.Fork, world.tell(ev.Wanted({"root.a": 2})))) == 1


def test_forks_in_flight_are_bounded() -> None:
    _, forks = up({"root": 50}, most=50)
    assert len(forks) == 8


# the exporter


def with_exporter() -> tuple[World, ev.Fork]:
    """The same as ``up()``, with an exporter that listens."""
    world, (fork,) = up(exporter=True)
    world.tell(ev.Started(Role.EXPORTER, PIDS[Role.EXPORTER]), ev.Ready(Role.EXPORTER))
    return world, fork


def test_the_exporter_goes_first_and_nobody_waits_for_it() -> None:
    world, fork = with_exporter()
    world.greet(fork, 50)
    actions = world.tell(ev.EndSoon())
    assert of(ev.Signal, actions)[0] == ev.Signal(13, signal.SIGKILL, False)
    assert of(ev.Exec, world.tell(ev.Reaped(13, DIED))) == []
    world.tell(ev.Reaped(50, LEFT), ev.Recovered(fork.entry, fork.generation), ev.Reaped(11, LEFT))
    assert of(ev.Exit, world.tell(ev.Reaped(12, LEFT))) == [ev.Exit(0)]


def test_an_exporter_that_dies_is_started_again_and_nothing_else_happens() -> None:
    world, fork = with_exporter()
    world.greet(fork, 50)
    actions = world.tell(ev.Reaped(13, DIED))
    assert [action for action in actions if not isinstance(action, ev.Log)] == []
    world.now += EXPORTER_PAUSE - 0.1
    assert of(ev.Exec, world.tell(ev.Tick())) == [], (
        "a new exporter starts only after a pause, so repeated kills do not keep the master busy"
    )
    world.now += 0.1
    assert of(ev.Exec, world.tell(ev.Tick())) == [ev.Exec(Role.EXPORTER)]


@pytest.mark.parametrize("exporter", [True, False])
def test_a_reload_replaces_the_exporter_or_ends_it(exporter: bool) -> None:
    world, _ = with_exporter()
    plan = Plan({"root": 1}, 8, Limits(GRACE, BOOT, 5.0), exporter)
    world.tell(ev.Reload(), ev.Compiled(plan), ev.Started(Role.SUCCESSOR, 21))
    actions = world.tell(ev.Ready(Role.SUCCESSOR))
    assert ev.Signal(13, signal.SIGKILL, False) in actions
    assert of(ev.Exec, world.tell(ev.Reaped(13, DIED))) == ([ev.Exec(Role.EXPORTER)] if exporter else [])
