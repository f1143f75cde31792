"""Conditions that take turns in short windows of one run, to tell their effect from the machine's own variation.

The speed of a busy machine changes by a third from one minute to the next, so two runs differ whatever is changed
between them. Windows of a second in a random order are all exposed to the same variation. In each round every
condition has one window, and its rate is divided by that of the quiet windows of the same round.
"""

from __future__ import annotations

import bisect
import itertools
import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

RESAMPLES = 5000


@dataclass(frozen=True)
class Window:
    """A time in which one condition was in force. ``began`` and ``ended`` are seconds of the same clock."""

    how: str
    began: float
    ended: float


@dataclass(frozen=True)
class Effect:
    """The effect of a condition: the median of its ratios to quiet, and the limits of the 95 % confidence interval."""

    ratio: float
    low: float
    high: float


def orders(ways: Sequence[str], rounds: int, seed: int) -> list[list[str]]:
    """A random order of the conditions for each round, so that no condition always follows the same other one."""
    dice = random.Random(seed)
    return [dice.sample(ways, len(ways)) for _ in range(rounds)]


def rates(windows: Sequence[Window], ends: Sequence[float]) -> list[float]:
    """How many of ``ends`` (sorted times) fall into each window, per second."""
    return [
        (bisect.bisect_left(ends, window.ended) - bisect.bisect_left(ends, window.began))
        / (window.ended - window.began)
        for window in windows
    ]


def effects(rounds: Sequence[dict[str, float]], quiet: tuple[str, str], seed: int = 0) -> dict[str, Effect]:
    """The effect of each condition, by its ratio to the mean of the two quiet ones.

    The second quiet condition is the control and is compared with the first alone.
    """
    first, control = quiet
    by_condition = {}
    for how in rounds[0]:
        if how == first:
            continue
        logs = [
            math.log(
                rates[how] / (rates[first] if how == control else math.sqrt(rates[first] * rates[control]))
            )
            for rates in rounds
        ]
        by_condition[how] = _bootstrap(logs, seed)
    return by_condition


def _bootstrap(logs: Sequence[float], seed: int) -> Effect:
    """The median and its interval from random samples of the rounds, without an assumption on their distribution."""
    dice = random.Random(seed)
    medians = sorted(statistics.median(dice.choices(logs, k=len(logs))) for _ in range(RESAMPLES))
    low, high = medians[round(0.025 * RESAMPLES)], medians[round(0.975 * RESAMPLES) - 1]
    return Effect(*(math.exp(value) for value in (statistics.median(logs), low, high)))


def by_round(windows: Sequence[Window], ends: Sequence[float], ways: int) -> list[dict[str, float]]:
    """The rates of each round, by condition."""
    measured = list(zip((window.how for window in windows), rates(windows, ends), strict=True))
    chunks = (measured[start : start + ways] for start in itertools.count(0, ways))
    return [dict(chunk) for chunk in itertools.takewhile(bool, chunks)]
