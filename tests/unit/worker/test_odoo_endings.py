"""How a run of an Odoo job that raised ends: as the addon would store it, except where we differ."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest

from queuejobs import TimeoutJobError
from queuejobs.retry import CONCURRENCY_DELAY, CONCURRENCY_LIMIT, RetrySettings
from queuejobs.worker.runtimes.odoo import endings, process
from support.besideodoo import ODOOLIKE

RETRY_INTERVAL = 600  # seconds: the addon's delay where neither the error nor a pattern has one
PATTERN = {1: 10, 3: 20, 5: (30, 40)}
NO_ERROR = (None, None, None)


class LockNotAvailable(psycopg2.OperationalError):
    pgcode = "55P03"


@pytest.fixture(scope="module")
def errors() -> Iterator[Any]:
    """The addon's error classes, from the stand-in for Odoo."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")  # importing Odoo sets it
        patch.syspath_prepend(ODOOLIKE)
        yield process.addon("exception")
        for name in [name for name in sys.modules if name.partition(".")[0] == "odoo"]:
            del sys.modules[name]
    time.tzset()


def decided(
    error: BaseException,
    retry: int = 0,
    limit: int = 5,
    pattern: Any = None,
    conflicts: int = 0,
    **settings: Any,
) -> endings.End:
    """The end of a run that raised ``error``, after ``retry`` tries before it."""
    row = {"retry": retry, "max_retries": limit, "attempt": 1, "concurrency_retries": conflicts}
    config = SimpleNamespace(retry_pattern=pattern)
    return endings.decided(error, row, RetrySettings(**settings), config)


def error_of(end: endings.End) -> tuple[str | None, str | None, str | None]:
    return end.ending.exc_name, end.ending.exc_message, end.ending.exc_info


def test_any_other_error_fails_the_job_at_once(errors: Any) -> None:
    try:
        raise ValueError("it is broken")
    except ValueError as error:
        end = decided(error)
    assert (end.ending.state, end.ending.delay, end.retry, end.result) == ("failed", None, 1, None)
    name, message, info = error_of(end)
    assert (name, message) == ("ValueError", "it is broken")
    assert info is not None
    assert info.startswith("Traceback")
    assert info.endswith("ValueError: it is broken\n")


def test_a_failure_of_the_business_has_the_addons_name(errors: Any) -> None:
    end = decided(errors.FailedJobError("no token"), on_error="retry")
    assert end.ending.state == "failed"
    assert error_of(end)[:2] == ("odoo.addons.queue_job.exception.FailedJobError", "no token")


@pytest.mark.parametrize(
    ("seconds", "pattern", "retry", "delay"),
    [
        (None, None, 0, RETRY_INTERVAL),
        (None, {}, 0, RETRY_INTERVAL),
        (0, None, 0, RETRY_INTERVAL),  # to the addon, 0 is "not given"
        (7, None, 0, 7),
        (7, PATTERN, 0, 7),
        (0, PATTERN, 0, 10),
        (None, PATTERN, 0, 10),  # the keys count the tries, this one included
        (None, PATTERN, 1, 10),
        (None, PATTERN, 2, 20),
        (None, {2: 5}, 0, RETRY_INTERVAL),
    ],
)
def test_a_retry_waits_as_long_as_with_the_addon(
    errors: Any, seconds: float | None, pattern: Any, retry: int, delay: float
) -> None:
    end = decided(errors.RetryableJobError("not yet", seconds=seconds), retry, pattern=pattern)
    assert (end.ending.state, end.ending.delay, end.ending.counted) == ("pending", delay, True)
    assert (end.retry, end.result, error_of(end)) == (retry + 1, "not yet", NO_ERROR)


def test_a_range_in_a_pattern_is_drawn_from(errors: Any) -> None:
    end = decided(errors.RetryableJobError("not yet"), 4, limit=0, pattern=PATTERN)
    assert end.ending.delay is not None
    assert 30 <= end.ending.delay <= 40


def test_max_retries_counts_executions_and_the_last_one_fails_with_the_addons_error(errors: Any) -> None:
    assert decided(errors.RetryableJobError("not yet"), 3).ending.state == "pending"
    end = decided(errors.RetryableJobError("not yet"), 4)
    assert (end.ending.state, end.retry) == ("failed", 5)
    name, message, info = error_of(end)
    assert name == "odoo.addons.queue_job.exception.FailedJobError"
    assert message == "Max. retries (5) reached: not yet"
    assert info is not None
    assert "RetryableJobError: not yet" in info  # the cause of the error
    assert decided(errors.RetryableJobError("not yet"), 1_000, limit=0).ending.state == "pending"


def test_a_try_that_is_ignored_leaves_the_counter(errors: Any) -> None:
    end = decided(errors.RetryableJobError("not yet", ignore_retry=True), 4)
    assert (end.ending.state, end.ending.counted, end.retry) == ("pending", False, 4)


def test_a_conflict_in_the_database_costs_no_try_and_leaves_no_error(errors: Any) -> None:
    end = decided(LockNotAvailable("locked"), 4, conflicts=CONCURRENCY_LIMIT - 1)
    assert (end.ending.state, end.ending.delay, end.retry) == ("pending", CONCURRENCY_DELAY, 4)
    assert (end.result, error_of(end)) == ("locked", NO_ERROR)
    assert decided(LockNotAvailable("locked"), conflicts=CONCURRENCY_LIMIT).ending.state == "failed"


def test_a_timeout_is_tried_again_and_says_so(errors: Any) -> None:
    """The addon has no timeouts: this rule is ours, and so is the error that the job shows meanwhile."""
    end = decided(TimeoutJobError("timeout after 3 s"), 1)
    assert (end.ending.state, end.ending.delay, end.retry) == ("pending", 20, 2)
    assert error_of(end)[:2] == ("queuejobs.exception.TimeoutJobError", "timeout after 3 s")
    assert decided(TimeoutJobError("timeout after 3 s"), 4).ending.state == "failed"


def test_the_policy_retry_is_ours_and_shows_the_error_of_the_last_try(errors: Any) -> None:
    end = decided(ValueError("it is broken"), 2, on_error="retry")
    assert (end.ending.state, end.ending.delay, end.retry) == ("pending", 40, 3)
    assert (end.result, error_of(end)[:2]) == ("it is broken", ("ValueError", "it is broken"))


def test_what_recovery_decided_is_stored_as_it_is() -> None:
    row = {"retry": 2, "doom_name": "Died", "doom_message": "killed", "doom_info": "three times"}
    end = endings.doomed(row)
    assert (end.ending.state, end.retry, error_of(end)) == ("failed", 2, ("Died", "killed", "three times"))
