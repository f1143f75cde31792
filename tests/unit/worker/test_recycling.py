"""When a worker is replaced: its limits are drawn once, and the first exceeded one in a fixed order is the reason."""

from __future__ import annotations

import random
from typing import Any

import pytest

from queuejobs.retry import RetrySettings
from queuejobs.worker.recycling import JITTER, Recycling
from queuejobs.worker.settings import ChannelSettings

BORN = 1000.0
NO_LIMITS = ChannelSettings(
    retry=RetrySettings("fail", 600.0, 3600.0), timeout=0.0, cpu=0.0, memory_soft=0, memory_hard=0, max_jobs=0,
    max_age=0.0, nice=0,
)  # fmt: skip
MIB = 1 << 20


class Loaded:
    """A random source that returns the same share of every range, and records the ranges."""

    def __init__(self, share: float) -> None:
        self._share = share  # 0 is the lower bound, 1 the upper bound
        self.rolled: list[tuple[float, float]] = []

    def uniform(self, a: float, b: float) -> float:
        self.rolled.append((a, b))
        return a + (b - a) * self._share


def recycling(share: float = 0.5, **limits: Any) -> Recycling:
    return Recycling(NO_LIMITS._replace(**limits), BORN, Loaded(share))


def leaves_after(worker: Recycling) -> int:
    """How many jobs the worker runs before it leaves."""
    return next(count for count in range(1, 10_000) if worker.reason(BORN, 0, count))


def test_without_limits_it_stays() -> None:
    worker = recycling()
    assert {worker.reason(BORN + 1e9, 1 << 50, count) for count in range(1000)} == {None}


def test_the_dice_are_rolled_once_for_jobs_and_age_together() -> None:
    """With a new draw for each job, the limits of all workers would average out and they would leave together."""
    dice = Loaded(1.0)
    worker = Recycling(NO_LIMITS._replace(max_jobs=100, max_age=50.0), BORN, dice)
    for _ in range(20):
        worker.reason(BORN, 0, 1)
    assert dice.rolled == [(1 - JITTER, 1 + JITTER)]
    assert worker.max_jobs == 110
    assert worker.until == pytest.approx(BORN + 55)


@pytest.mark.parametrize(("share", "jobs"), [(0.0, 90), (0.5, 100), (1.0, 110)])
def test_jobs_are_counted_up_to_what_the_dice_say(share: float, jobs: int) -> None:
    worker = recycling(share, max_jobs=100)
    assert worker.reason(BORN, 0, jobs - 1) is None
    worker.count(jobs - 2)
    assert worker.reason(BORN, 0, 1) is None
    assert worker.reason(BORN, 0, 2) == f"{jobs} jobs"


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_one_job_stays_one_job(share: float) -> None:
    assert leaves_after(recycling(share, max_jobs=1)) == 1


@pytest.mark.parametrize(("share", "age"), [(0.0, 54.0), (1.0, 66.0)])
def test_age_counts_from_birth(share: float, age: float) -> None:
    worker = recycling(share, max_age=60.0)
    assert worker.reason(BORN + age - 0.1, 0, 1) is None
    assert worker.reason(BORN + age + 0.1, 0, 1) == "age"


def test_memory_is_a_limit_without_dice() -> None:
    worker = recycling(0.0, memory_soft=300 * MIB)
    assert worker.reason(BORN, 300 * MIB, 1) is None
    assert worker.reason(BORN, 301 * MIB, 1) == "memory 301 MiB > 300 MiB"


def test_jobs_go_before_age_and_age_before_memory() -> None:
    limits: dict[str, Any] = {"max_jobs": 2, "max_age": 60.0, "memory_soft": MIB}
    worker = recycling(**limits)
    assert worker.reason(BORN + 100, 2 * MIB, 1) == "age"
    assert worker.reason(BORN + 100, 2 * MIB, 2) == "2 jobs"
    assert recycling(**limits).reason(BORN, 2 * MIB, 1) == "memory 2 MiB > 1 MiB"


def test_workers_that_are_born_together_do_not_leave_together() -> None:
    dice = random.Random(16)
    ends = {leaves_after(Recycling(NO_LIMITS._replace(max_jobs=1000), BORN, dice)) for _ in range(20)}
    assert len(ends) > 10
    assert min(ends) >= 900
    assert max(ends) <= 1100
