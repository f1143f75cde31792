"""Unknown children: orphans of jobs, and workers that die before the template has named them."""

from __future__ import annotations

import signal

import pytest

from queuemaster.master.core import events as ev
from queuemaster.master.core.events import Limits, Plan, Role
from queuemaster.master.core.pools import WorkerState
from queuemaster.master.core.supervision import Supervision

KILLED = int(signal.SIGKILL)


@pytest.fixture
def core() -> Supervision:
    supervision = Supervision((Role.TEMPLATE,), Plan({"root": 1}, 4, Limits(30.0, 20.0, 5.0)), 8)
    supervision.handle(ev.Tick(), 1.0)
    supervision.handle(ev.Started(Role.TEMPLATE, 11), 1.0)
    return supervision


def requested_fork(core: Supervision) -> ev.Fork:
    (fork,) = [a for a in core.handle(ev.Ready(Role.TEMPLATE), 1.0) if isinstance(a, ev.Fork)]
    return fork


def test_a_worker_that_was_dead_before_it_was_named_is_replaced(core: Supervision) -> None:
    fork = requested_fork(core)
    core.handle(ev.Reaped(50, KILLED), 1.0)
    actions = core.handle(ev.Named(fork.entry, fork.generation, 50), 1.0)
    assert ev.Forget(fork.entry) in actions


def test_the_pid_of_an_orphan_may_be_a_later_workers(core: Supervision) -> None:
    core.handle(ev.Reaped(50, KILLED), 0.5)
    fork = requested_fork(core)
    actions = core.handle(ev.Named(fork.entry, fork.generation, 50), 1.0)
    assert ev.Forget(fork.entry) not in actions
    assert core.pools.workers[fork.entry].state is WorkerState.NAMED
