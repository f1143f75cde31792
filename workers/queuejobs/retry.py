"""Decide what happens to a job that raised: whether it runs again or has failed, when, and whether the try counts.

Pure: the error, the job's row, its declaration, the settings and a source of random numbers go in, an outcome comes
out.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Any, Mapping, Optional, Protocol

from .exception import FailedJobError, LimitJobError, RetryableJobError, TimeoutJobError
from .functions import JobFunction
from .properties import storable
from .shared.job_state import JobState

# serialization failure, deadlock, lock not available: caused by concurrent transactions, not by the job
CONCURRENCY_CODES = ("40001", "40P01", "55P03")
CONCURRENCY_DELAY = 5.0
CONCURRENCY_LIMIT = 100

_BACKOFF_BASE = 10.0
_LONGEST_MESSAGE = 16 * 1024
_LONGEST_INFO = 128 * 1024


class Dice(Protocol):
    """The module ``random`` or a ``random.Random``."""

    def uniform(self, a: float, b: float) -> float:
        """A random number between ``a`` and ``b``."""


@dataclass(frozen=True)
class RetrySettings:
    """The settings of the service, or of the channel, for what the job function leaves open. Delays are seconds."""

    on_error: str = "fail"
    retry_delay: float = 600.0
    max_backoff: float = 3600.0


@dataclass(frozen=True)
class Outcome:
    """How to settle a job that raised."""

    state: JobState  # PENDING or FAILED
    delay: Optional[float]  # seconds until it is ready again; None when failed
    counted: bool  # False: the try is given back
    exc_name: str
    exc_message: str
    exc_info: str
    concurrency: bool = False  # a concurrency error of the database: add one to concurrency_retries


def decide(
    error: BaseException,
    row: Mapping[str, Any],
    function: JobFunction,
    settings: RetrySettings,
    rng: Dice,
) -> Outcome:
    """The outcome of one try. In ``row`` the counter ``retry`` includes this try, since the claim has raised it."""
    message = _message(error)
    if is_concurrency_error(error):
        if (row.get("concurrency_retries") or 0) < CONCURRENCY_LIMIT:
            return _outcome(error, row, message, CONCURRENCY_DELAY, counted=False, concurrency=True)
        return _outcome(error, row, f"gave up after {CONCURRENCY_LIMIT} concurrency errors: {message}", None)
    if isinstance(error, FailedJobError):
        return _outcome(error, row, message, None)

    policy = function.on_error or settings.on_error
    retryable = isinstance(error, (RetryableJobError, TimeoutJobError, LimitJobError))
    if not retryable and policy != "retry":
        return _outcome(error, row, message, None)

    counted = not (isinstance(error, RetryableJobError) and error.ignore_retry)
    if counted and 0 < row["max_retries"] <= row["retry"]:
        return _outcome(error, row, f"Max. retries ({row['max_retries']}) reached: {message}", None)
    backs_off = policy == "retry" or isinstance(error, (TimeoutJobError, LimitJobError))
    default = backoff(row["retry"], settings.max_backoff) if backs_off else settings.retry_delay
    return _outcome(error, row, message, _delay(error, row["retry"], function, default, rng), counted)


def is_concurrency_error(error: BaseException) -> bool:
    """Whether PostgreSQL ended the transaction because of a conflict with another one."""
    return getattr(error, "pgcode", None) in CONCURRENCY_CODES


def backoff(tries: int, longest: float) -> float:
    """10, 20, 40 … seconds after the first, second, third … try, at most ``longest``."""
    # the exponent is bounded, since 2.0**1024 overflows; 2**64 · 10 s is above any limit
    return min(_BACKOFF_BASE * 2.0 ** min(max(tries - 1, 0), 64), longest)


def pattern_delay(pattern: Mapping[int, Any], tries: int, rng: Dice) -> Optional[float]:
    """The delay of the largest key that is at most ``tries``; None below the smallest key."""
    reached = [key for key in pattern if key <= tries]
    if not reached:
        return None
    delay = pattern[max(reached)]
    return rng.uniform(*delay) if isinstance(delay, (tuple, list)) else float(delay)


def _delay(error: BaseException, tries: int, function: JobFunction, default: float, rng: Dice) -> float:
    if isinstance(error, RetryableJobError) and error.seconds is not None:
        return max(float(error.seconds), 0.0)
    declared = pattern_delay(function.retry_pattern or {}, tries, rng)
    return default if declared is None else declared


def _outcome(
    error: BaseException,
    row: Mapping[str, Any],
    message: str,
    delay: Optional[float],
    counted: bool = True,
    concurrency: bool = False,
) -> Outcome:
    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    kind = type(error)
    return Outcome(
        state=JobState.FAILED if delay is None else JobState.PENDING,
        delay=delay,
        counted=counted,
        exc_name=f"{kind.__module__}.{kind.__qualname__}",
        exc_message=storable(message)[:_LONGEST_MESSAGE],
        # cut at its beginning: the end of a traceback names the error
        exc_info=storable(f"attempt {row.get('attempt')}: {message}\n{trace}")[-_LONGEST_INFO:],
        concurrency=concurrency,
    )


def _message(error: BaseException) -> str:
    try:
        return str(error) or type(error).__name__
    except Exception as str_error:  # the application's __str__ must not keep its job from being settled
        return f"{type(error).__name__} (its message failed: {type(str_error).__name__})"
