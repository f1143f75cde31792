"""How long jobs are kept, by channel and final state, and which channels a round has to visit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from queuejobs.store.retention import Ended
from queuemaster.channels import parse_channels
from queuemaster.config.compiled import Settings
from queuemaster.dispatcher import retention
from queuemaster.dispatcher.retention import Ages, Due, due


def ages(channels: str, **options: Any) -> Ages:
    return Ages(Settings(parse_channels(channels).channels, (), **options))


def test_a_channel_says_it_else_the_one_above_else_the_options() -> None:
    retention_ages = ages(
        "root:1,a:1:retention=7d,a.b:1:failed_retention=1d", retention=100.0, failed_retention=0.0
    )
    assert retention_ages.age("done", "root") == 100.0
    assert retention_ages.age("cancelled", "root.a.b") == 7 * 86400.0
    assert retention_ages.age("failed", "root.a.b") == 86400.0
    assert retention_ages.age("failed", "root.a") is None, "failed jobs of root.a are kept for ever"
    assert retention_ages.age("done", "a.b.not.configured") == 7 * 86400.0


def test_nothing_is_looked_for_that_is_kept_for_ever() -> None:
    assert ages("root:1", retention=0.0, failed_retention=0.0).states == []
    assert ages("root:1", retention=1.0, failed_retention=0.0).states == ["done", "cancelled"]
    assert ages("root:1,a:1:failed_retention=1d", retention=0.0, failed_retention=0.0).states == ["failed"]


def test_a_round_visits_the_channels_whose_oldest_job_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    pages: dict[tuple[str, str], list[Ended]] = {
        ("done", ""): [Ended("root", 50.0), Ended("root.a", 500.0)],
        ("done", "root.a"): [Ended("root.b", 101.0)],
        ("failed", ""): [Ended("root", 9999.0)],
    }
    monkeypatch.setattr(retention, "channels", lambda _cursor, state, after: pages.get((state, after), []))

    def age(state: str, _channel: str) -> float | None:
        return 100.0 if state == "done" else None

    steps: Iterator[Due | int] = due(lambda: None, ["done", "failed"], age)
    assert list(steps) == [2, Due("done", "root.a", 100.0), 1, Due("done", "root.b", 100.0), 1]
