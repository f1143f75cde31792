"""Heads are kept for channels with rows only, so a role that names many channels does not fill the memory."""

from __future__ import annotations

import pytest

from queuejobs.shared.job_key import Key
from queuemaster.channels import Head
from queuemaster.dispatcher import statements
from queuemaster.dispatcher.head_table import SPARE, HeadTable


def key(number: int) -> Key:
    return (10, f"2026-01-01T00:00:00.{number:06d}", number)


class Rows:
    """Ready jobs by channel, in place of the query that reads heads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **ready: list[Key]) -> None:
        self.reads: list[int] = []
        monkeypatch.setattr(statements, "heads", self._heads)
        self._ready = ready

    def _heads(self, _cursor: object, windows: list[statements.Wanted]) -> dict[str, list[Key]]:
        self.reads.append(len(windows))
        return {window.channel: self._ready.get(window.channel, []) for window in windows}


def read(table: HeadTable) -> None:
    """Read until no head is dirty."""
    for _ in range(4):
        if not table.read(None, lambda _channel: False):
            return
    raise AssertionError("a head stays dirty")


def test_a_channel_that_is_named_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Rows(monkeypatch, a=[key(1)])
    table = HeadTable()
    table.noticed("a", key(1))
    assert table.has_dirty()
    read(table)
    assert table["a"].candidate(sequential=False) == key(1)
    assert rows.reads == [1]


def test_an_empty_head_is_kept_while_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty head has a bound, so the next read can skip the rows of jobs that are done."""
    Rows(monkeypatch)
    table = HeadTable()
    table.noticed("a", None)
    read(table)
    table.noticed("a", key(5))
    assert table["a"].bound == key(5)


def test_channels_in_great_number_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    Rows(monkeypatch, real=[key(1)])
    table = HeadTable()
    table.keep(["real"])
    for round_ in range(3):
        for number in range(3 * SPARE):
            table.noticed(f"{round_}.{number}", key(number))
        assert len(table) == SPARE + 1
        assert table.overflowed
        read(table)
        assert set(table) == {"real"}
    table.keep(["real", "another"])
    assert not table.overflowed
    read(table)
    assert table["real"].ready == [key(1)]


def test_what_a_grant_may_come_back_for_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    Rows(monkeypatch)
    table = HeadTable()
    table.noticed("granted", None)
    table["granted"].grant()
    for number in range(SPARE):
        table.noticed(str(number), None)
    read(table)
    assert set(table) == {"granted"}
    table.keep([])
    assert set(table) == {"granted"}
    table["granted"].came_back()
    table.keep([])
    assert set(table) == set()


def test_all_channels_with_rows_have_room() -> None:
    table = HeadTable()
    channels = [str(number) for number in range(5 * SPARE)]
    table.keep(channels)
    table.noticed("one more", None)
    assert set(table) == {*channels, "one more"}
    assert not table.overflowed


@pytest.mark.parametrize(
    "change",
    [
        lambda head: head.noticed(None),
        lambda head: head.grant(),
        lambda head: head.grant(sliced=True),
        lambda head: head.asking(),
        lambda head: head.read([key(1)], False, None, False),
        lambda head: head.read([], True, None, False),
        lambda head: head.read([], False, key(1), False),
        lambda head: head.read([], False, None, True),
    ],
)
def test_a_head_of_which_anything_is_known_is_not_empty(change: object) -> None:
    head = Head()
    assert not head.is_empty(), "the head has not been read yet"
    head.read([], False, None, False)
    assert head.is_empty()
    assert callable(change)
    change(head)
    assert not head.is_empty()
