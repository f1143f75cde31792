"""Why a run is stopped, in the words that both the master and the worker use. Pure."""

from __future__ import annotations

import enum


class Cause(enum.IntEnum):
    """What a kill request is for."""

    NONE = 0
    TIMEOUT = 1
    CPU = 2
    MEMORY = 3
    CANCEL = 4


class DeathKind(str, enum.Enum):
    """How the end of a worker is charged to its run. The values go into the database."""

    DEATH = "death"  # it died by itself, or was killed because it hung
    LIMIT = "limit"  # it was killed since its run passed a limit or was cancelled, and did not stop


def describe(cause: Cause, value: int, limit: int) -> str:
    """``timeout after 30 s``; ``value`` and ``limit`` are nanoseconds, for memory bytes."""
    if cause is Cause.TIMEOUT:
        return f"timeout after {limit / 1e9:g} s"
    if cause is Cause.CPU:
        return f"cpu {value / 1e9:.1f} s > {limit / 1e9:g} s"
    if cause is Cause.MEMORY:
        return f"memory {value >> 20} MiB > {limit >> 20} MiB"
    return "cancelled on request"
