"""The rate limiter: a lone request does not wait, and requests in quick succession are spaced."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from queuemaster.exporter.rate_limiter import RateLimiter


class Clock:
    """A clock that moves only by ``sleep``, and where a test sets it."""

    def __init__(self) -> None:
        self.now = 100.0

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


def test_who_comes_alone_does_not_wait() -> None:
    clock = Clock()
    limiter = RateLimiter(1.0, lambda: clock.now, clock.sleep)
    for _ in range(3):
        before = clock.now
        limiter.wait()
        assert clock.now == before
        clock.now += 1.0


@given(st.lists(st.sampled_from([0.0, 0.125, 0.5, 2.0]), max_size=50))
def test_no_two_answers_are_closer_than_the_gap(pauses: list[float]) -> None:
    clock = Clock()
    limiter = RateLimiter(0.5, lambda: clock.now, clock.sleep)
    answered = []
    for pause in pauses:
        clock.now += pause
        limiter.wait()
        answered.append(clock.now)
    assert all(later - earlier >= 0.5 for earlier, later in itertools.pairwise(answered))


def test_those_who_wait_at_the_same_time_are_answered_in_turn() -> None:
    waits: list[float] = []
    limiter = RateLimiter(0.5, lambda: 100.0, waits.append)
    for _ in range(4):
        limiter.wait()
    assert waits == [0.5, 1.0, 1.5]
