"""The dispatcher's standing in a database changes only by the table of transitions, and is logged once."""

from __future__ import annotations

from typing import Any

import pytest

from queuejobs.shared.standing import Standing
from queuejobs.shared.transitions import IllegalTransition
from queuemaster.dispatcher.standing import TRANSITIONS, StandingKeeper

AWAY, LEADS, NOT_SERVED, QUARANTINED, STANDS_BY = (
    Standing.AWAY, Standing.LEADS, Standing.NOT_SERVED, Standing.QUARANTINED, Standing.STANDS_BY,
)  # fmt: skip


class Hub:
    """Records the calls it gets."""

    def __init__(self) -> None:
        self.reported: list[Standing] = []

    def standing(self, database: int, standing: Standing) -> None:
        assert database == 3
        self.reported.append(standing)


@pytest.fixture
def hub() -> Any:
    return Hub()


@pytest.fixture
def keeper(hub: Any) -> StandingKeeper:
    return StandingKeeper(3, "sales", hub)


def test_each_change_is_logged_and_told(
    keeper: StandingKeeper, hub: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    keeper.change(STANDS_BY)
    keeper.change(LEADS, epoch=4)
    keeper.change(AWAY, "no route", retry=0.1, duty=None)
    keeper.change(QUARANTINED, "no such table", retry=300.0, duty="beat")
    keeper.change(NOT_SERVED, "no addon")
    assert keeper.current is NOT_SERVED
    assert hub.reported == [STANDS_BY, LEADS, AWAY, QUARANTINED, NOT_SERVED]
    assert [(record.getMessage(), vars(record)["ctx"]) for record in caplog.records] == [
        ("another dispatcher leads, standing by", {"db": "sales"}),
        ("leads", {"db": "sales", "epoch": 4}),
        ("database is away", {"db": "sales", "error": "no route", "retry": 0.1}),
        ("database is in quarantine", {"db": "sales", "error": "no such table", "retry": 300.0, "duty": "beat"}),
        ("database is not served", {"db": "sales", "why": "no addon"}),
    ]  # fmt: skip


def test_the_same_again_is_no_change_but_another_reason_is_logged(
    keeper: StandingKeeper, hub: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for reason in ("refused", "refused", "no such role", "refused"):
        keeper.change(AWAY, reason, retry=1.0)
    assert hub.reported == [AWAY]
    assert [vars(record)["ctx"]["error"] for record in caplog.records] == [
        "refused",
        "no such role",
        "refused",
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [(LEADS, LEADS), (LEADS, STANDS_BY), (STANDS_BY, STANDS_BY)],
    ids=lambda standing: standing.value,
)
def test_a_leadership_and_a_standby_end_with_their_session(
    keeper: StandingKeeper, first: Standing, second: Standing
) -> None:
    keeper.change(first)
    with pytest.raises(IllegalTransition, match=f"{second.value} cannot follow {first.value}"):
        keeper.change(second)


def test_nothing_is_in_quarantine_at_the_beginning(keeper: StandingKeeper) -> None:
    with pytest.raises(IllegalTransition, match="quarantined cannot follow None"):
        keeper.change(QUARANTINED, "x")


def test_the_table_knows_every_standing() -> None:
    assert set(TRANSITIONS) == {None, *Standing}
    assert all(TRANSITIONS[standing] for standing in TRANSITIONS)
