"""When duties run."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from queuejobs.store import oca
from queuemaster.channels import Tree, parse_channels
from queuemaster.dispatcher import native_duties, odoo_statements, statements
from queuemaster.dispatcher.duties import Duties, Duty
from queuemaster.dispatcher.head_table import HeadTable
from queuemaster.dispatcher.native_duties import (
    CANCEL_AGAIN,
    EARLY_POLL,
    LOCKED_ETA,
    Cancel,
    Poll,
    Promote,
    ReadHeads,
    Recover,
    WatchOrphans,
)
from queuemaster.dispatcher.odoo_duties import SETTLED, Gate, LookAtChanges, WatchSignal
from queuemaster.dispatcher.recovery import Recovery
from queuemaster.dispatcher.standing import NotServed
from queuemaster.dispatcher.statements import Started


class Note(Duty):
    """A duty that records its runs."""

    name = "note"

    def __init__(
        self, log: list[str], text: str, interval: float, first: float = 0.0, wait: float | None = None
    ) -> None:
        super().__init__()
        self.interval, self.first = interval, first
        self._log, self._text, self._wait = log, text, wait

    def run(self, cursor: Any) -> float | None:
        self._log.append(self._text)
        return self._wait


class Failing(Duty):
    name = "failing"
    interval = 1.0

    def run(self, cursor: Any) -> None:
        raise ValueError("refused")


def test_each_runs_when_it_is_due_in_the_order_of_the_list() -> None:
    log: list[str] = []
    duties = Duties([Note(log, "often", 1.0), Note(log, "seldom", 3.0, first=2.0)])
    assert duties.moment() == math.inf, "no duty is due before the dispatcher leads"
    duties.begin(10.0)
    moments = [10.0, 10.5, 11.0, 12.0, 13.0, 15.0]
    clock = iter(moments)
    for _ in moments:
        duties.work(None, lambda: next(clock))
    assert log == ["often", "often", "often", "seldom", "often", "often", "seldom"]
    assert duties.moment() == 16.0


def test_a_duty_may_say_when_it_runs_next_counted_from_its_end() -> None:
    moments = iter([10.0, 14.0])
    duties = Duties([Note([], "slow", 1.0, wait=5.0)])
    duties.begin(0.0)
    duties.work(None, lambda: next(moments))
    assert duties.moment() == 19.0


def test_one_that_is_hastened_runs_next_and_then_by_its_interval() -> None:
    log: list[str] = []
    duty = Note(log, "x", 60.0, first=60.0)
    duties = Duties([duty])
    duties.begin(0.0)
    duties.work(None, lambda: 1.0)
    assert log == []
    duty.hasten()
    duties.work(None, lambda: 1.0)
    assert (log, duties.moment()) == (["x"], 61.0)


def test_what_is_put_off_waits_even_when_it_was_hastened() -> None:
    near, far = Note([], "near", 1.0), Note([], "far", 60.0, first=60.0)
    duties = Duties([near, far])
    duties.begin(0.0)
    near.hasten()
    duties.put_off(2.0)
    assert (near.moment(), far.moment()) == (2.0, 60.0)


def test_the_duty_that_failed_is_known() -> None:
    duties = Duties([Failing()])
    duties.begin(0.0)
    with pytest.raises(ValueError, match="refused"):
        duties.work(None, lambda: 0.0)
    assert duties.running == "failing"
    duties.begin(0.0)
    assert duties.running == ""


def test_nothing_to_do_is_due_never() -> None:
    assert Duties([]).moment() == math.inf


# duties of the native queue


class Hub:
    """A hub that records the calls it gets."""

    def __init__(self, channels: str = "root:1") -> None:
        self.calls: list[Any] = []
        self.tree = Tree(parse_channels(channels).channels)

    def __getattr__(self, name: str) -> Any:
        return lambda *values: self.calls.append((name, *values))

    def alive(self) -> set[Any]:
        return set()


@pytest.fixture
def hub() -> Any:
    return Hub()


@pytest.mark.parametrize(
    ("next_eta", "wait"),
    [(None, None), (5.0, 5.0), (1000.0, 30.0), (0.001, LOCKED_ETA), (-3.0, LOCKED_ETA)],
    ids=["no delayed job", "soon", "later than the poll", "at once", "locked by an application"],
)
def test_promotion_comes_back_for_the_next_eta(
    monkeypatch: pytest.MonkeyPatch, next_eta: float | None, wait: float | None
) -> None:
    promoted = iter([native_duties.PROMOTE_AT_ONCE, native_duties.PROMOTE_AT_ONCE, 1])
    monkeypatch.setattr(statements, "promote", lambda _cursor, _limit: next(promoted))
    monkeypatch.setattr(statements, "next_eta", lambda _cursor: next_eta)
    assert Promote(30.0).run(None) == wait
    assert list(promoted) == [], "it goes on until all jobs are promoted"


def test_a_cancel_is_asked_for_until_its_run_is_gone(monkeypatch: pytest.MonkeyPatch, hub: Any) -> None:
    process: Any = object()
    runs = [Started(7, 2, "root", 1, process), Started(8, 1, "root", 9, None)]
    monkeypatch.setattr(statements, "to_cancel", lambda _cursor: runs)
    assert Cancel(hub).run(None) == CANCEL_AGAIN
    assert hub.calls == [("cancel", process, 7, 2)]
    runs.clear()
    assert Cancel(hub).run(None) is None


def test_orphans_are_watched_until_they_have_ended(hub: Any) -> None:
    rows = [Started(7, 2, "root", 1, None), Started(8, 1, "root.a", 9, None)]
    orphans = WatchOrphans(3, hub, lambda _cursor: rows)
    orphans.due = 5.0
    assert orphans.moment() == math.inf
    orphans.find(None)
    assert orphans.moment() == 5.0
    orphans.run(None)
    rows[0] = Started(7, 3, "root", 1, None)  # the job was put back, and our worker has started it
    orphans.run(None)
    rows.clear()
    orphans.run(None)
    slots = [message[2] for message in hub.calls if message[0] == "orphans"]
    assert slots == [["root", "root.a"], ["root.a"], []]
    assert orphans.moment() == math.inf


def test_channels_without_room_are_found_by_a_poll_but_not_at_every_message(
    monkeypatch: pytest.MonkeyPatch, hub: Any
) -> None:
    monkeypatch.setattr(native_duties, "time", SimpleNamespace(monotonic=lambda: 100.0))
    monkeypatch.setattr(statements, "ready_channels", lambda _cursor: ["root"])
    heads = HeadTable()
    poll = Poll(hub, heads, 30.0)
    poll.due = 130.0
    assert poll.moment() == 130.0
    heads.overflowed = True
    assert poll.moment() == -math.inf
    poll.run(None)
    assert set(heads) == {"root"}
    heads.overflowed = True
    assert poll.moment() == 100.0 + EARLY_POLL


def test_heads_are_read_when_one_is_dirty(hub: Any) -> None:
    heads = HeadTable()
    duty = ReadHeads(hub, heads)
    assert duty.moment() == math.inf
    heads.noticed("root", None)
    assert duty.moment() == -math.inf


def test_without_cases_recovery_is_due_never(hub: Any) -> None:
    assert Recover(0, hub, Recovery(0, "db")).moment() == math.inf


# duties beside Odoo


def look(problem: str = "", busy: str = "") -> Any:
    return lambda _cursor: SimpleNamespace(problem=problem, busy=busy)


def test_the_gate_closes_while_modules_change(monkeypatch: pytest.MonkeyPatch, hub: Any) -> None:
    installed: list[Any] = []
    poll = Note([], "poll", 30.0)
    gate = Gate("db", hub, installed.append)
    gate.hasten_on_opening(poll)
    cursor = SimpleNamespace(connection="connection")
    for busy in ("", "sale to upgrade", "sale to upgrade, crm to install"):
        monkeypatch.setattr(oca, "look", look(busy=busy))
        gate.run(cursor)
        assert gate.closed is bool(busy)
    assert (hub.calls, installed, poll.moment()) == ([], [], math.inf)
    monkeypatch.setattr(oca, "look", look())
    gate.run(cursor)
    assert not gate.closed
    assert (hub.calls, installed) == ([("reload", "modules changed")], ["connection"])
    assert poll.moment() == -math.inf


def test_a_database_that_loses_the_addon_is_not_served(monkeypatch: pytest.MonkeyPatch, hub: Any) -> None:
    monkeypatch.setattr(oca, "look", look(problem="the addon is gone"))
    with pytest.raises(NotServed, match="the addon is gone"):
        Gate("db", hub, print).run(None)


def test_a_changed_registry_is_a_reload_and_then_there_is_a_rest(
    monkeypatch: pytest.MonkeyPatch, hub: Any
) -> None:
    signal = WatchSignal(hub)
    waits = []
    for number in (5, 5, 6, 6):
        monkeypatch.setattr(oca, "registry_signal", lambda _cursor, number=number: number)
        waits.append(signal.run(None))
    assert waits == [None, None, SETTLED, None]
    assert hub.calls == [("reload", "Odoo's registry changed")]


def test_jobs_that_were_named_are_looked_up_together(monkeypatch: pytest.MonkeyPatch, hub: Any) -> None:
    ready = odoo_statements.Pending("root.a", (10, "2026-01-01T00:00:00.000000", 1), True)
    delayed = odoo_statements.Pending("root.b", (10, "2026-01-01T00:00:00.000000", 2), False)
    lookups: list[list[str]] = []

    def changed(_cursor: Any, uuids: list[str]) -> list[odoo_statements.Pending]:
        lookups.append(sorted(uuids))
        return [ready, delayed]

    monkeypatch.setattr(odoo_statements, "changed", changed)
    heads, promote = HeadTable(), Note([], "promote", 30.0)
    changes = LookAtChanges(4, hub, heads, Note([], "poll", 30.0), promote)
    for uuid in ("one", "two", "one"):
        changes.add(uuid)
    changes.run(None)
    assert lookups == [["one", "two"]]
    assert set(heads) == {"root.a"}
    assert promote.moment() == -math.inf
    assert [message[0] for message in hub.calls] == ["warm_up_worker", "changed"]
