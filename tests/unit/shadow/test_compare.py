"""Differences between another runner's choices and ours, found by comparing successive looks."""

from __future__ import annotations

from collections.abc import Iterable

from queuemaster.channels import Tree, parse_channels
from queuemaster.shadow.compare import PATIENCE, Comparison, SeenJob, Snapshot


def job(number: int, channel: str = "root", priority: int = 10) -> SeenJob:
    return SeenJob("odoo", f"job-{number}", channel, (priority, "2026-01-01", number))


class Eyes:
    """Looks at the queue, with a test in the role of the other runner."""

    def __init__(self, channels: str) -> None:
        self.now = 100.0
        self.comparison = Comparison(Tree(parse_channels(channels).channels), self.now)
        self.see()

    def see(
        self, ready: Iterable[SeenJob] = (), taken: Iterable[SeenJob] = (), passed: Iterable[SeenJob] = (),
        failed: Iterable[str] = (), later: float = 0.5,
    ) -> list[tuple[str, str]]:  # fmt: skip
        self.now += later
        look = Snapshot(self.now, tuple(ready), tuple(taken), tuple(passed), frozenset(failed))
        return [(difference.kind, difference.job.uuid) for difference in self.comparison.compare(look)]


def test_a_runner_that_does_as_we_do_is_not_spoken_of() -> None:
    eyes = Eyes("root:2")
    assert eyes.see([job(1), job(2), job(3)]) == []
    assert eyes.see([job(3)], [job(1), job(2)]) == []
    assert eyes.see([], [job(2), job(3)]) == []
    assert eyes.see([], [], [job(4)], later=10) == []
    assert eyes.comparison.starts == 4


def test_more_than_the_capacity() -> None:
    eyes = Eyes("root:4,root.mail:1")
    assert eyes.see([job(1, "root.mail"), job(2, "root.mail")]) == []
    assert eyes.see([job(2, "root.mail")], [job(1, "root.mail")]) == []
    assert eyes.see([], [job(1, "root.mail"), job(2, "root.mail")]) == [("too many", "job-2")]


def test_a_channel_that_a_failed_job_blocks() -> None:
    eyes = Eyes("root:4,root.mail:1:sequential")
    assert eyes.see([job(1, "root.mail")], failed=["root.mail"]) == []
    assert eyes.see([], [job(1, "root.mail")], failed=["root.mail"]) == [("too many", "job-1")]


def test_a_job_that_was_passed_over() -> None:
    eyes = Eyes("root:1")
    urgent, other = job(2, priority=1), job(1)
    assert eyes.see([urgent, other]) == []
    assert eyes.see([urgent], [other]) == [("out of order", "job-1")]


def test_a_job_that_came_just_now_was_not_passed_over() -> None:
    eyes = Eyes("root:1")
    assert eyes.see([job(1)]) == []
    assert eyes.see([job(2, priority=1)], [job(1)]) == []


def test_a_job_that_waits_beside_a_free_slot_is_told_once() -> None:
    eyes = Eyes("root:1")
    assert eyes.see([job(1), job(2)]) == []
    assert eyes.see([job(1), job(2)], later=PATIENCE) == [("late", "job-1")]
    assert eyes.see([job(1), job(2)], later=PATIENCE) == []


def test_a_job_that_waits_for_a_slot_is_not_late() -> None:
    eyes = Eyes("root:1")
    assert eyes.see([job(2)], [job(1)]) == []
    assert eyes.see([job(2)], [job(1)], later=60) == []


def test_what_runs_at_the_first_look_was_not_started_before_our_eyes() -> None:
    comparison = Comparison(Tree(parse_channels("root:1").channels), 0.0)
    assert comparison.compare(Snapshot(1.0, (), (job(1), job(2)))) == []
    assert comparison.starts == 0
