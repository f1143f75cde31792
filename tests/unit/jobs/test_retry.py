"""What happens to a job that raised: whether it runs again, when, and whether the try counts."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuejobs import FailedJobError, JobFunction, RetryableJobError, TimeoutJobError
from queuejobs.retry import Outcome, RetrySettings, backoff, decide, pattern_delay

PATTERN = {1: 10, 5: 20, 10: 30, 15: 300}


class LockNotAvailable(Exception):
    pgcode = "55P03"


def decided(
    error: BaseException,
    tries: int = 1,
    limit: int = 5,
    function: JobFunction = JobFunction(),  # noqa: B008 - frozen
    concurrency: int = 0,
    **settings: Any,
) -> Outcome:
    row = {"retry": tries, "max_retries": limit, "attempt": tries, "concurrency_retries": concurrency}
    return decide(error, row, function, RetrySettings(**settings), random.Random(1))


def test_any_error_fails_at_once_by_default() -> None:
    outcome = decided(KeyError("x"))
    assert (outcome.state, outcome.delay, outcome.counted) == ("failed", None, True)
    assert (outcome.exc_name, outcome.exc_message) == ("builtins.KeyError", "'x'")
    assert outcome.exc_info.startswith("attempt 1: 'x'\n")


@pytest.mark.parametrize(
    ("tries", "delay"), [(1, 10), (4, 10), (5, 20), (9, 20), (10, 30), (14, 30), (15, 300), (99, 300)]
)
def test_the_pattern_says_from_which_try_on(tries: int, delay: float) -> None:
    function = JobFunction(retry_pattern=PATTERN)
    assert decided(RetryableJobError("later"), tries, 0, function).delay == delay


def test_below_the_smallest_key_of_a_pattern_the_default_delay_holds() -> None:
    function = JobFunction(retry_pattern={3: 7})
    assert decided(RetryableJobError("later"), 2, function=function).delay == 600
    assert decided(RetryableJobError("later"), 2, function=function, on_error="retry").delay == 20


def test_the_exceptions_own_seconds_come_first_and_zero_is_honoured() -> None:
    function = JobFunction(retry_pattern=PATTERN)
    assert decided(RetryableJobError("now", seconds=0), function=function).delay == 0
    assert decided(RetryableJobError("soon", seconds=3), function=function).delay == 3


def test_max_retries_counts_executions() -> None:
    assert decided(RetryableJobError("x"), 4).state == "pending"
    last = decided(RetryableJobError("no luck"), 5)
    assert (last.state, last.exc_message) == ("failed", "Max. retries (5) reached: no luck")
    assert "no luck" in last.exc_info
    assert decided(RetryableJobError("x"), 1_000, limit=0).state == "pending"


def test_a_try_that_is_not_counted_has_no_limit() -> None:
    outcome = decided(RetryableJobError("x", ignore_retry=True), 5)
    assert (outcome.state, outcome.counted) == ("pending", False)


def test_a_business_failure_is_permanent_under_every_policy() -> None:
    assert decided(FailedJobError("no token"), on_error="retry").state == "failed"


@pytest.mark.parametrize(("tries", "delay"), [(1, 10), (2, 20), (3, 40), (4, 80), (5, 160), (40, 3600)])
def test_the_policy_retry_backs_off(tries: int, delay: float) -> None:
    assert decided(ValueError("x"), tries, 0, on_error="retry").delay == delay


def test_the_function_overrides_the_policy() -> None:
    assert decided(ValueError("x"), function=JobFunction(on_error="retry")).state == "pending"
    assert decided(ValueError("x"), function=JobFunction(on_error="fail"), on_error="retry").state == "failed"


def test_a_timeout_is_tried_again_even_under_the_policy_fail() -> None:
    outcome = decided(TimeoutJobError("timeout after 30 s"), 2)
    assert (outcome.state, outcome.delay, outcome.counted) == ("pending", 20, True)
    assert decided(TimeoutJobError("timeout after 30 s"), 5).state == "failed"


def test_a_concurrency_error_costs_no_try_but_not_for_ever() -> None:
    outcome = decided(LockNotAvailable("locked"), 5, concurrency=99)
    assert (outcome.state, outcome.delay, outcome.counted, outcome.concurrency) == ("pending", 5, False, True)
    given_up = decided(LockNotAvailable("locked"), 1, concurrency=100)
    assert (given_up.state, given_up.concurrency) == ("failed", False)
    assert "gave up after 100 concurrency errors" in given_up.exc_message


def test_what_postgresql_cannot_store_is_escaped() -> None:
    outcome = decided(ValueError("a\x00b\ud800"))
    assert outcome.exc_message == "a\\x00b\\ud800"


def test_an_error_whose_message_fails_is_settled_all_the_same() -> None:
    class Rude(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert decided(Rude()).exc_message == "Rude (its message failed: RuntimeError)"


@given(st.integers(1, 10**6), st.floats(0, 1e6))
def test_the_backoff_never_shrinks_and_never_exceeds_its_limit(tries: int, longest: float) -> None:
    assert backoff(tries, longest) <= backoff(tries + 1, longest) <= longest


@given(
    st.dictionaries(st.integers(0, 50), st.floats(0, 100) | st.tuples(st.floats(0, 50), st.floats(50, 100))),
    st.integers(1, 60),
    st.randoms(use_true_random=False),
)
def test_a_pattern_uses_the_largest_key_reached(pattern: Any, tries: int, rng: random.Random) -> None:
    delay = pattern_delay(pattern, tries, rng)
    reached = [key for key in pattern if key <= tries]
    if not reached:
        assert delay is None
    else:
        value = pattern[max(reached)]
        low, high = value if isinstance(value, tuple) else (value, value)
        assert delay is not None
        assert low <= delay <= high
