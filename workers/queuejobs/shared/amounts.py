"""Sizes and durations: as people write them in a configuration, and as properties of a job or its function. Pure."""

from __future__ import annotations

import re
from typing import Any

LONGEST = 1e10  # seconds, three hundred years: in nanoseconds it still fits into 64 bits
LARGEST = 2**62  # bytes
SIZES = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}

_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s*([kmgt]?)(?:i?b)?", re.ASCII)
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s*([smhd]?)", re.ASCII)
DURATION_EXPECTED = "expected a duration: seconds (30, 0.5) or with a unit (30s, 5m, 1h, 30d)"


def read_duration(text: str) -> float:
    """``30``, ``30s``, ``5m``, ``1h``, ``30d`` → seconds. ``ValueError`` says what was expected."""
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError(DURATION_EXPECTED)
    return float(match[1]) * _UNITS[match[2]]


def read_size(text: str) -> int:
    """``512M``, ``1.5G``, ``4096`` → bytes. ``ValueError`` says what was expected."""
    match = _SIZE.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError("expected a size: bytes (1048576) or with a unit (512M, 2G)")
    return int(float(match[1]) * SIZES[match[2]])


def seconds(name: str, value: Any) -> float:
    """A property or setting that is a number of seconds, 0 for none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < LONGEST:
        raise ValueError(f"{name}={value!r}: expected a number of seconds, 0 for none")
    return float(value)


def size(name: str, value: Any) -> int:
    """A property or setting that is a size: bytes as an int, or a text such as ``512M``; 0 for none."""
    expected = f"{name}={value!r}: expected a size: bytes (1048576) or with a unit ('512M', '2G'), 0 for none"
    if isinstance(value, str):
        try:
            value = read_size(value)
        except ValueError:
            raise ValueError(expected) from None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < LARGEST:
        raise ValueError(expected)
    return value
