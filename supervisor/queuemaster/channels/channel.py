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
    burst: int = 1  # starts that a time without any may save up
    # a channel that leaves one of these at its default inherits the value of the nearest channel above: Tree.inherited
    timeout: float = 0.0
    memory: int = 0
    cpu: float = 0.0
    max_jobs: int = 0  # a worker is replaced after so many
    batch: int = 1  # jobs in one transaction
    on_error: str = ""  # "fail" or "retry"
    nice: int = 0
    retention: float | None = None  # seconds; 0: for ever
    failed_retention: float | None = None

    @property
    def parent(self) -> str | None:
        """The name of the channel above, None for ``root``."""
        head, dot, _ = self.name.rpartition(".")
        return head if dot else None
