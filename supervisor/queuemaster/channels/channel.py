"""One channel as it is configured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ChannelConfig:
    """One configured channel. Parents stand before their children, ``root`` is first."""

    name: str  # complete: "root.sale"
    capacity: int | None = 1  # None: unlimited, bounded by the ancestors
    sequential: bool = False
    throttle: float = 0.0  # seconds between two starts, in this channel and below it
    paused: bool = False
    prefork: int | None = None  # workers kept ready; None: the effective capacity
    rate: float = 0.0  # starts a second, in this channel and below it
    burst: int = 1  # starts that may be saved up while none happens
    # a channel that leaves one of these at its default inherits the value of the nearest channel above, but for batch:
    # see Tree.inherited
    timeout: float = 0.0  # seconds that a job may run, 0: no limit
    memory: int = 0  # bytes, 0: no limit
    cpu: float = 0.0  # seconds of processor time, 0: no limit
    max_jobs: int = 0  # a worker is replaced after so many
    batch: int = 1  # jobs in one transaction, at most
    on_error: str = ""  # "fail" or "retry"
    nice: int = 0
    retention: float | None = None  # seconds; 0: for ever
    failed_retention: float | None = None

    @property
    def parent(self) -> str | None:
        """The name of the channel above, None for ``root``."""
        head, dot, _ = self.name.rpartition(".")
        return head if dot else None
