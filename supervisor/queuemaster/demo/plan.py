"""Which jobs a demonstration enqueues. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from queuemaster.channels.channel import ChannelConfig

# of a hundred jobs; the rest are single
_RETRYING, _FAILING = 5, 3
_DIAMONDS = range(20, 40)  # four jobs each: a parent, two children beside each other, one that waits for both
_KILLING_EVERY = 500  # a job that kills its worker costs a fork and a recovery


class Planned(NamedTuple):
    """One job. ``kind`` is the name of a method of the demonstration's model."""

    number: int
    channel: str
    kind: str
    priority: int
    parents: tuple[int, ...] = ()  # numbers of the jobs that must be done before


def planned(jobs: int, channels: Sequence[ChannelConfig]) -> Iterator[Planned]:
    """The jobs, distributed over the channels in turn. None fails in a sequential channel, which it would block."""
    for number in range(1, jobs + 1):
        channel = channels[number % len(channels)]
        priority = 5 + number * 7 % 10
        diamond = _diamond(number, len(channels))
        if diamond and diamond[-1] <= jobs:
            top, *sides, bottom = diamond
            parents = {top: (), bottom: tuple(sides)}.get(number, (top,))
            yield Planned(number, channel.name, "following", priority, parents)
        else:
            yield Planned(number, channel.name, _kind(number // len(channels), channel), priority)


def _diamond(number: int, channels: int) -> tuple[int, ...]:
    """The numbers of the diamond that a job belongs to, all in its channel; () when it is in none."""
    place = number // channels % 100
    if place not in _DIAMONDS:
        return ()
    first = number - (place - _DIAMONDS.start) % 4 * channels
    return tuple(first + turn * channels for turn in range(4))


def _kind(turn: int, channel: ChannelConfig) -> str:
    """The kind of the job that is number ``turn`` in its channel: each channel gets every kind that it may have."""
    if turn % _KILLING_EVERY == 7:
        return "killing"
    place = turn % 100
    if place < _RETRYING:
        return "retrying"
    if place < _RETRYING + _FAILING and not channel.sequential:
        return "failing"
    return "single"
