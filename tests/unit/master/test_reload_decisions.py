"""A reload in progress, and another one that is requested meanwhile."""

from __future__ import annotations

import pytest

from queuemaster.master.core import events as ev
from queuemaster.master.core.events import Limits, Plan, Role
from queuemaster.master.core.reload import Succession
from queuemaster.master.core.supervision import Supervision

OLD = Plan({"root": 1}, 4, Limits(30.0, 20.0, 5.0))
NEW = Plan({"root": 2, "root.a": 1}, 6, Limits(10.0, 0.0, 1.0))


def test_a_second_request_waits_for_the_first() -> None:
    succession = Succession()
    assert succession.begin()
    assert not succession.begin_queued(), "no reload is queued"
    assert not succession.begin()
    assert not succession.begin(), "a third request is queued like the second"
    succession.give_up()
    assert succession.begin_queued()
    assert succession.under_way
    succession.give_up()
    assert not succession.begin_queued(), "one reload serves all queued requests"


def test_what_comes_after_a_reload_knows_nothing_of_signals_before() -> None:
    succession = Succession(root_change=2)
    succession.begin()
    succession.plan = NEW
    assert succession.succeed() == NEW
    assert succession == Succession(under_way=False, plan=None, root_change=0)


def test_a_reload_that_fails_leaves_everything_as_it_was() -> None:
    succession = Succession(root_change=2)
    succession.begin()
    succession.plan = NEW
    succession.give_up()
    assert succession == Succession(under_way=False, plan=None, root_change=2)


@pytest.fixture
def core() -> Supervision:
    running = Supervision((Role.TEMPLATE, Role.DISPATCHER), OLD, 8)
    tell(running, ev.Tick(), ev.Started(Role.TEMPLATE, 11), ev.Started(Role.DISPATCHER, 12))
    tell(running, ev.Ready(Role.TEMPLATE), ev.Ready(Role.DISPATCHER))
    return running


def tell(core: Supervision, *events: ev.Event) -> list[ev.Action]:
    """Handle the events; return the actions other than logging."""
    actions = [action for event in events for action in core.handle(event, 1.0)]
    return [action for action in actions if not isinstance(action, ev.Log)]


def test_a_refused_configuration_changes_nothing_and_the_queued_reload_is_tried(core: Supervision) -> None:
    assert tell(core, ev.Reload()) == [ev.Compile()]
    assert tell(core, ev.Reload()) == []
    assert tell(core, ev.Compiled(None)) == [ev.Discard(), ev.Compile()]
    assert tell(core, ev.Compiled(None)) == [ev.Discard()]
    assert (core.pools.targets, core.limits) == (OLD.targets, OLD.limits)


def test_a_template_that_does_not_come_up_changes_nothing(core: Supervision) -> None:
    tell(core, ev.Reload())
    assert tell(core, ev.Compiled(NEW)) == [ev.Exec(Role.SUCCESSOR)]
    assert tell(core, ev.Started(Role.SUCCESSOR, 21), ev.Reaped(21, 1 << 8)) == [ev.Discard()]
    assert Role.SUCCESSOR not in core.children
    assert core.children[Role.TEMPLATE].pid == 11
    assert (core.pools.targets, core.limits, core.pools.retired) == (OLD.targets, OLD.limits, 0)


def test_the_new_template_brings_the_new_plan_into_force(core: Supervision) -> None:
    tell(core, ev.ChangeRoot(+1), ev.Reload(), ev.Compiled(NEW), ev.Started(Role.SUCCESSOR, 21))
    actions = tell(core, ev.Ready(Role.SUCCESSOR))
    assert actions[:3] == [ev.Succeed(), ev.TellSettings(), ev.TellRetire(1)]
    forks = [action.channel for action in actions if isinstance(action, ev.Fork)]
    assert forks == ["root", "root.a"], "root has its first worker already"
    assert core.children[Role.TEMPLATE].pid == 21
    assert (core.pools.targets, core.pools.max_workers, core.limits) == (NEW.targets, 6, NEW.limits)
    assert core.succession.root_change == 0


def test_a_master_that_ends_does_not_reload(core: Supervision) -> None:
    tell(core, ev.Reload(), ev.EndSoon())
    assert [action for action in tell(core, ev.Compiled(NEW)) if isinstance(action, ev.Exec)] == []
    assert tell(core, ev.Reload()) == []
