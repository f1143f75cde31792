"""Limits that an operator changed live override the configured ones. Pure.

Each database has rows of its own, and a supervisor that serves several has one tree. Where several databases have a
row for the same channel, the strictest values count: the smallest capacity, the smallest rate, any pause. A limit that
no row changes stays as configured.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from .channel import ChannelConfig


@dataclass(frozen=True)
class Override:
    """One channel's live limits in one database. None: as configured."""

    channel: str  # complete
    capacity: int | None = None  # 0: nothing starts
    rate: float | None = None  # starts a second, 0: no limit
    paused: bool | None = None


def overridden(
    channels: Iterable[ChannelConfig], overrides: Collection[Override]
) -> tuple[ChannelConfig, ...]:
    """The channels with the limits in force. Overrides of channels that are not configured have no effect."""
    return tuple(
        _apply(channel, [override for override in overrides if override.channel == channel.name])
        for channel in channels
    )


def _apply(channel: ChannelConfig, overrides: list[Override]) -> ChannelConfig:
    capacities = [override.capacity for override in overrides if override.capacity is not None]
    rates = [override.rate or math.inf for override in overrides if override.rate is not None]
    pauses = [override.paused for override in overrides if override.paused is not None]
    if capacities:
        # a sequential channel runs one job at a time, whatever its live capacity
        least = min(capacities)
        channel = replace(channel, capacity=min(least, 1) if channel.sequential else least)
    if rates:
        channel = replace(channel, rate=0.0 if min(rates) == math.inf else min(rates))
    if pauses:
        channel = replace(channel, paused=any(pauses))
    return channel
