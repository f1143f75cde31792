"""Which jobs a demonstration enqueues. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from queuemaster.config.compiled import ChannelConfig

# of a hundred jobs; the rest are single
_RETRYING, _FAILING = 5, 3
_KILLING_EVERY = 500  # a job that kills its worker costs a fork and a recovery


class Planned(NamedTuple):
    """One job. ``kind`` is the name of a method of the demonstration's model."""

    number: int
    channel: str
    kind: str
    priority: int


def planned(jobs: int, channels: Sequence[ChannelConfig]) -> Iterator[Planned]:
    """The jobs, dealt to the channels in turn. In a sequential channel none fails: it would block it."""
    for number in range(1, jobs + 1):
        channel = channels[number % len(channels)]
        yield Planned(number, channel.name, _kind(number // len(channels), channel), 5 + number * 7 % 10)


def _kind(turn: int, channel: ChannelConfig) -> str:
    """By the number of the job within its channel, so that every channel gets each kind that it may have."""
    if turn % _KILLING_EVERY == 7:
        return "killing"
    place = turn % 100
    if place < _RETRYING:
        return "retrying"
    if place < _RETRYING + _FAILING and not channel.sequential:
        return "failing"
    return "single"
