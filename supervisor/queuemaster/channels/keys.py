"""The keys of a channel that OCA's runner does not know: how their values are read and shown.

A reader raises ValueError; its message continues the words ``key=value``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from queuejobs.shared.amounts import SIZES, is_off, read_duration, read_size

ERROR_POLICIES = ("fail", "retry")
GREATEST = 2**31 - 1  # jobs or workers: more than there will ever be, and the largest integer of 32 bits
SLOWEST = 1e-9  # starts a second; the times that are computed from it must stay exact enough

_PER = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_RATE = re.compile(r"(\d{1,15}(?:\.\d{0,15})?|\.\d{1,15})\s*(?:/\s*([smh]))?", re.ASCII)


class Reader(NamedTuple):
    """How a key is read, with an example of a right value."""

    read: Callable[[str], Any]
    example: str


def read_rate(text: str) -> float:
    """``5``, ``5/s``, ``30/m``, ``2.5/h`` → starts a second; ``off``: 0.0, no limit."""
    if text and is_off(text):
        return 0.0
    match = _RATE.fullmatch(text.lower())
    if match is None:
        raise ValueError("is no number of starts a second (/s), minute (/m) or hour (/h)")
    rate = float(match[1]) / _PER[match[2] or ""]
    if 0 < rate < SLOWEST:
        raise ValueError("is less than one start in thirty years")
    return rate


def show_rate(rate: float) -> str:
    """The inverse of :func:`read_rate`, in the unit that takes the fewest digits."""
    if not rate:
        return "off"
    texts = (f"{rate * _PER[unit]:.9f}".rstrip("0").rstrip(".") + f"/{unit}" for unit in "smh")
    return min(texts, key=len)


def show_size(size: int) -> str:
    """The inverse of :func:`queuejobs.shared.amounts.read_size`."""
    unit = next((unit for unit in "tgmk" if size and size % SIZES[unit] == 0), "")
    return f"{size // SIZES[unit]}{unit.upper()}"


def _saying(read: Callable[[str], Any], problem: str) -> Callable[[str], Any]:
    """The same reader with another error message."""

    def try_read(text: str) -> Any:
        try:
            return read(text)
        except ValueError:
            raise ValueError(problem) from None

    return try_read


def _read_seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError("is no number of seconds")
    return seconds


def _whole(least: int, most: int | None, what: str) -> Callable[[str], int]:
    """``most`` None: any number, read as ``GREATEST`` at most."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least or (most is not None and number > most):
            raise ValueError(f"is no {what}")
        return min(number, GREATEST)

    return read


def _read_on_error(text: str) -> str:
    if text.lower() not in ERROR_POLICIES:
        raise ValueError(f"is none of {', '.join(ERROR_POLICIES)}")
    return text.lower()


KEYS = {
    "prefork": Reader(_whole(0, None, "number of workers"), "prefork=2"),
    "rate": Reader(read_rate, "rate=5/s, rate=30/m or rate=100/h"),
    "burst": Reader(_whole(1, None, "number of starts"), "burst=10"),
    "timeout": Reader(_read_seconds, "timeout=300"),
    "memory": Reader(_saying(read_size, "is no size"), "memory=512M"),
    "cpu": Reader(_read_seconds, "cpu=60"),
    "max_jobs": Reader(_whole(0, None, "number of jobs"), "max_jobs=1000"),
    "batch": Reader(_whole(1, None, "number of jobs"), "batch=20"),
    "on_error": Reader(_read_on_error, "on_error=retry"),
    "retention": Reader(_saying(read_duration, "is no duration"), "retention=30d, or 0 for ever"),
    "failed_retention": Reader(
        _saying(read_duration, "is no duration"), "failed_retention=90d, or 0 for ever"
    ),
    "nice": Reader(_whole(-20, 19, "nice value, from -20 to 19"), "nice=5"),
}
