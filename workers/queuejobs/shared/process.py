"""A process, named so that no later one of the same pid is taken for it."""

from __future__ import annotations

from typing import NamedTuple


class Process(NamedTuple):
    """A process of one boot of one host."""

    host: str
    boot_id: str
    pid: int
    start_time: int  # clock ticks since boot
