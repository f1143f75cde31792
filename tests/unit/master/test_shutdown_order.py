"""The end of a master: in which order its processes are ended, and what is not waited for."""

from __future__ import annotations

import signal

import pytest

from queuemaster.master.core import events as ev
from queuemaster.master.core.events import Role
from queuemaster.master.core.shutdown import RECOVERY_PATIENCE
from support.mastercore import DIED, GRACE, LEFT, PIDS, World, of, up


def test_term_lets_running_jobs_finish_then_everything_ends_in_order() -> None:
    world, (fork,) = up()
    world.greet(fork, 50)
    actions = world.tell(ev.EndSoon())
    assert of(ev.TellDrain, actions)
    assert of(ev.Signal, actions) == [
        ev.Signal(11, signal.SIGTERM, False),
        ev.Signal(50, signal.SIGTERM, False),
    ]
    assert of(ev.Signal, world.after(GRACE - 1)) == [], "each worker is signalled once, not every second"
    assert of(ev.Exec, world.tell(ev.Reaped(11, LEFT))) == [], "no process is started during the shutdown"
    world.tell(ev.Reaped(50, LEFT))
    assert of(ev.Signal, world.tell(ev.Recovered(fork.entry, fork.generation))) == [
        ev.Signal(12, signal.SIGTERM, False)
    ]
    assert of(ev.Exit, world.tell(ev.Reaped(12, LEFT))) == [ev.Exit(0)]


@pytest.mark.parametrize("how", ["grace is over", "second TERM", "INT"])
def test_what_still_runs_is_killed_with_its_children_and_its_try_given_back(how: str) -> None:
    world, (fork,) = up()
    world.greet(fork, 50)
    if how == "INT":
        actions = world.tell(ev.EndNow())
    else:
        world.tell(ev.EndSoon())
        actions = world.after(GRACE) if how == "grace is over" else world.tell(ev.EndSoon())
    assert ev.Signal(50, signal.SIGKILL, True) in actions
    assert of(ev.TellDeath, world.tell(ev.Reaped(50, DIED, busy=True)))[0].cause is None


def test_nobody_waits_for_ever_for_a_dispatcher_that_cannot_recover() -> None:
    world, (fork,) = up()
    world.greet(fork, 50)
    world.tell(ev.EndNow(), ev.Reaped(50, DIED, busy=True), ev.Reaped(11, LEFT))
    assert of(ev.Signal, world.after(RECOVERY_PATIENCE - 1)) == []
    assert of(ev.Signal, world.after(1)) == [ev.Signal(12, signal.SIGTERM, False)]


def test_the_server_goes_last_by_its_fast_shutdown() -> None:
    world = World(Role.SERVER, Role.TEMPLATE, Role.DISPATCHER)
    roles = [role for role in PIDS if role is not Role.EXPORTER]
    world.tell(*(event for role in roles for event in (ev.Started(role, PIDS[role]), ev.Ready(role))))
    order = [action.pid for action in of(ev.Signal, world.tell(ev.EndNow()))]
    for pid in (11, 12):
        order += [action.pid for action in of(ev.Signal, world.tell(ev.Reaped(pid, LEFT)))]
    assert order == [11, 12, 10]
    assert of(ev.Exit, world.tell(ev.Reaped(10, LEFT))) == [ev.Exit(0)]


def test_a_worker_that_comes_too_late_is_told_to_leave() -> None:
    world, (fork,) = up()
    world.tell(ev.EndSoon())
    actions = world.greet(fork, 50)
    assert of(ev.Introduce, actions) == []
    assert ev.Signal(50, signal.SIGTERM, False) in actions
