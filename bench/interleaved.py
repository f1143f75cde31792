"""Conditions in turn, in short windows of one run: what a condition does, told from what the machine does by itself.

A busy machine is faster and slower by a third from one minute to the next, and so two runs differ whatever is changed
between them. Windows of a second that follow each other in a random order share what the machine does meanwhile. In
each round every condition has one window; what counts is the ratio to the quiet windows of the same round.
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
    """So long one condition was in force. Times are seconds of one clock."""

    how: str
    began: float
    ended: float


@dataclass(frozen=True)
class Effect:
    """Of a condition: the median of its ratios, and between what the true one is in 95 of 100 cases."""

    ratio: float
    low: float
    high: float


def orders(ways: Sequence[str], rounds: int, seed: int) -> list[list[str]]:
    """For each round its own order: no condition always comes after the same one."""
    dice = random.Random(seed)
    return [dice.sample(ways, len(ways)) for _ in range(rounds)]


def rates(windows: Sequence[Window], ends: Sequence[float]) -> list[float]:
    """Ends a second in each window; ``ends`` are sorted."""
    return [
        (bisect.bisect_left(ends, window.ended) - bisect.bisect_left(ends, window.began))
        / (window.ended - window.began)
        for window in windows
    ]


def effects(rounds: Sequence[dict[str, float]], quiet: tuple[str, str], seed: int = 0) -> dict[str, Effect]:
    """What each condition does; of the second quiet one, the control, against the first alone."""
    one, other = quiet
    found = {}
    for how in rounds[0]:
        if how == one:
            continue
        logs = [
            math.log(rates[how] / (rates[one] if how == other else math.sqrt(rates[one] * rates[other])))
            for rates in rounds
        ]
        found[how] = _bootstrap(logs, seed)
    return found


def _bootstrap(logs: Sequence[float], seed: int) -> Effect:
    """The interval by drawing as many rounds again and again, without assuming how they are spread."""
    dice = random.Random(seed)
    medians = sorted(statistics.median(dice.choices(logs, k=len(logs))) for _ in range(RESAMPLES))
    low, high = medians[round(0.025 * RESAMPLES)], medians[round(0.975 * RESAMPLES) - 1]
    return Effect(*(math.exp(value) for value in (statistics.median(logs), low, high)))


def by_round(windows: Sequence[Window], ends: Sequence[float], ways: int) -> list[dict[str, float]]:
    """The rates of each round, by condition."""
    reached = list(zip((window.how for window in windows), rates(windows, ends), strict=True))
    chunks = (reached[start : start + ways] for start in itertools.count(0, ways))
    return [dict(chunk) for chunk in itertools.takewhile(bool, chunks)]
