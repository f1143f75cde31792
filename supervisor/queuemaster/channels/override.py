"""What an operator changed live, over what is configured. Pure.

Each database has its own rows, and one supervisor that serves several has one tree. So of several that speak
of the same channel the most careful counts: the smallest capacity, the smallest rate, any pause. A database
that says nothing has no vote, and a limit that nobody changed live stays as configured.
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
    rate: float | None = None  # starts a second, 0: as many as come
    paused: bool | None = None


def overridden(
    channels: Iterable[ChannelConfig], overrides: Collection[Override]
) -> tuple[ChannelConfig, ...]:
    """The channels as they count. Overrides of channels that are not configured have no effect."""
    return tuple(
        _apply(channel, [one for one in overrides if one.channel == channel.name]) for channel in channels
    )


def _apply(channel: ChannelConfig, overrides: list[Override]) -> ChannelConfig:
    capacities = [one.capacity for one in overrides if one.capacity is not None]
    rates = [one.rate or math.inf for one in overrides if one.rate is not None]
    pauses = [one.paused for one in overrides if one.paused is not None]
    if capacities:
        # in order means one at a time, whatever somebody wishes
        least = min(capacities)
        channel = replace(channel, capacity=min(least, 1) if channel.sequential else least)
    if rates:
        channel = replace(channel, rate=0.0 if min(rates) == math.inf else min(rates))
    if pauses:
        channel = replace(channel, paused=any(pauses))
    return channel
