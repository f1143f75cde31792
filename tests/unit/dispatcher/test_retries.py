"""How long a database that failed is left alone."""

from __future__ import annotations

from queuejobs.shared.standing import Standing
from queuemaster.dispatcher.retries import (
    FIRST_DELAY,
    LONGEST_DELAY,
    NOT_SERVED_DELAY,
    QUARANTINE,
    QUARANTINE_AFTER,
    QUARANTINE_WITHIN,
    Retries,
    Retry,
)


def test_it_is_tried_again_later_and_later() -> None:
    retries = Retries()
    delays = [retries.lost(led=False).delay for _ in range(12)]
    assert delays[:3] == [2 * FIRST_DELAY, 4 * FIRST_DELAY, 8 * FIRST_DELAY]
    assert delays == sorted(delays)
    assert delays[-1] == LONGEST_DELAY


def test_a_leadership_that_was_lost_is_sought_again_at_once() -> None:
    retries = Retries()
    for _ in range(9):
        retries.lost(led=False)
    assert retries.lost(led=True) == Retry(Standing.AWAY, FIRST_DELAY)


def test_one_that_refuses_too_often_is_quarantined() -> None:
    retries = Retries()
    for number in range(QUARANTINE_AFTER - 1):
        assert retries.refused(float(number), led=True).standing is Standing.AWAY
    assert retries.refused(10.0, led=True) == Retry(Standing.QUARANTINED, QUARANTINE)
    assert retries.lost(led=False) == Retry(Standing.AWAY, LONGEST_DELAY)


def test_refusals_of_long_ago_do_not_count() -> None:
    retries = Retries()
    for number in range(20):
        moment = number * QUARANTINE_WITHIN / (QUARANTINE_AFTER - 1)
        assert retries.refused(moment, led=True).standing is Standing.AWAY


def test_being_away_is_no_refusal() -> None:
    retries = Retries()
    for _ in range(3 * QUARANTINE_AFTER):
        retries.lost(led=False)
    assert retries.refused(1.0, led=False).standing is Standing.AWAY


def test_without_a_queue_it_is_looked_at_now_and_then() -> None:
    assert Retries().not_served() == Retry(Standing.NOT_SERVED, NOT_SERVED_DELAY)
