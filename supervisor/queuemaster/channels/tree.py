"""The tree of configured channels: where a job belongs, what bounds it, how many workers to keep ready."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from .channel import ChannelConfig
from .parse import ROOT, complete_name

STORED_NAMES_REMEMBERED = 4096
INHERITED = ("timeout", "memory", "cpu", "max_jobs", "on_error", "nice", "retention", "failed_retention")


class Tree:
    """Configured channels, parents before children, ``root`` first and with a finite capacity.

    Immutable: a change of the configuration makes a new tree.
    """

    def __init__(self, channels: Iterable[ChannelConfig]) -> None:
        self._channels: dict[str, ChannelConfig] = {}
        self._paths: dict[str, tuple[str, ...]] = {}
        self._effective: dict[str, int] = {}
        for channel in channels:
            self._add(channel)
        if ROOT not in self._channels:
            raise ValueError("a channel tree needs a root: expected the channel 'root' as the first one")
        self._depth = max(name.count(".") for name in self._channels) + 1
        # Applications choose the stored names, any number of them: the cache is bounded.
        self.resolve = lru_cache(maxsize=STORED_NAMES_REMEMBERED)(self._resolve)

    def _add(self, channel: ChannelConfig) -> None:
        name, parent = channel.name, channel.parent
        if name in self._channels:
            raise ValueError(f"channel {name} is there twice; expected each name once")
        if parent is None:
            if name != ROOT or channel.capacity is None:
                raise ValueError(f"channel {name}: expected 'root', with a finite capacity, first")
            self._paths[name] = (name,)
            self._effective[name] = channel.capacity
        elif parent not in self._channels:
            raise ValueError(f"channel {name}: expected its parent {parent} before it")
        else:
            self._paths[name] = (name, *self._paths[parent])
            above = self._effective[parent]
            self._effective[name] = above if channel.capacity is None else min(above, channel.capacity)
        self._channels[name] = channel

    @property
    def names(self) -> tuple[str, ...]:
        """The complete names, parents before children, ``root`` first."""
        return tuple(self._channels)

    def __iter__(self) -> Iterator[ChannelConfig]:
        return iter(self._channels.values())

    def __len__(self) -> int:
        return len(self._channels)

    def __getitem__(self, name: str) -> ChannelConfig:
        return self._channels[name]

    def __contains__(self, name: object) -> bool:
        return name in self._channels

    def _resolve(self, stored_name: str | None) -> str:
        """The configured channel that runs the jobs of a stored name: itself, or its nearest ancestor."""
        # the stored name is the application's: it may have far more levels than any configured one
        levels = complete_name(stored_name).split(".", self._depth)[: self._depth]
        while (name := ".".join(levels)) not in self._channels:
            levels.pop()
        return name

    def path(self, name: str) -> tuple[str, ...]:
        """A configured channel and everything above it, ``root`` last: where its jobs take their slots."""
        return self._paths[name]

    def effective(self, name: str) -> int:
        """How many jobs of a configured channel can run at once: the least capacity up to the root."""
        return self._effective[name]

    def paused(self, name: str) -> bool:
        """Whether the channel or one above it is paused."""
        return any(self._channels[above].paused for above in self._paths[name])

    def ordered_or_timed(self, name: str) -> bool:
        """Whether starts in a configured channel are ordered or counted, so that each takes a grant of its own."""
        path = (self._channels[above] for above in self._paths[name])
        return any(channel.sequential or channel.throttle or channel.rate for channel in path)

    def rate(self, name: str) -> float:
        """How many jobs of a configured channel can start a second: the least rate up to the root; 0: any."""
        return min((rate for above in self._paths[name] if (rate := self._channels[above].rate)), default=0.0)

    def inherited(self, name: str, field: str) -> Any:
        """The value of one of ``INHERITED`` for a configured channel: its own, else that of the nearest channel above.

        The field's default when none of them sets it: 0, "", for retentions None. Where the default is 0, a channel
        that sets 0 sets nothing: it cannot lift a limit that it inherits, only replace it by another one.
        """
        if field not in INHERITED:
            raise ValueError(f"channels do not inherit {field}; expected one of {', '.join(INHERITED)}")
        default = getattr(ChannelConfig, field)
        values = (getattr(self._channels[above], field) for above in self._paths[name])
        return next((value for value in values if value != default), default)

    def pool_sizes(self, max_workers: int) -> dict[str, int]:
        """How many workers to fork ahead for each channel, never more than ``max_workers`` in all.

        A channel wants its ``prefork``, else its effective capacity; a paused one wants none. When there is
        not enough for all, the channels are served in rounds, in the order of the configuration, one worker
        each a round: every channel gets its first worker before any gets a second. A channel that gets none, or
        not enough, has workers forked on demand.
        """
        sizes = dict.fromkeys(self._channels, 0)
        wanting = {name: wanted for name in sizes if (wanted := self._wanted(name)) > 0}
        left = max_workers
        while wanting and left > 0:
            for name in tuple(wanting)[:left]:
                sizes[name] += 1
                left -= 1
                if sizes[name] == wanting[name]:
                    del wanting[name]
        return sizes

    def _wanted(self, name: str) -> int:
        if self.paused(name):
            return 0
        prefork, effective = self._channels[name].prefork, self._effective[name]
        return effective if prefork is None else min(prefork, effective)
