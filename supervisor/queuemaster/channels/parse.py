"""The configuration string of channels: ``root:4, mail:2, mail.bulk:1:throttle=5``.

Entries are separated by commas or newlines; an entry is ``name[:capacity[:key[=value]]...]``. The language
is that of OCA's ``queue_job``, so that an ``odoo.conf`` works as it is. Mistakes that OCA's parser ignores (a
mistyped key, a root left at 1) are warnings here; only what it refuses is an error. One meaning differs: ``false``,
``no``, ``0`` and ``off`` are false.

In the result None is an unlimited capacity, and 0 is one with which nothing ever starts: the string's
``0`` becomes None (0 for ``root``, which is switched off by it), a negative number becomes 0.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from queuejobs.shared.amounts import is_off

from .channel import ChannelConfig
from .keys import KEYS

ROOT = "root"
KNOWN_KEYS = ("sequential", "throttle", "paused", *KEYS)
EXPECTED = "expected name[:capacity[:key[=value]]...], for instance root:4 or sale.mail:2:throttle=5"


class ChannelSyntaxError(ValueError):
    """An entry that cannot be understood; the message names it and says what was expected."""

    def __init__(self, entry: str, problem: str) -> None:
        super().__init__(f"channel entry {entry!r}: {problem}")
        self.entry = entry


@dataclass(frozen=True)
class Parsed:
    """What a configuration string says: parents stand before their children, ``root`` is first."""

    channels: tuple[ChannelConfig, ...]
    warnings: tuple[str, ...] = ()

    @property
    def off(self) -> bool:
        """The runner is switched off: no job starts in any channel."""
        return self.channels[0].capacity == 0


@dataclass
class _Reading:
    """The channels and warnings so far."""

    channels: dict[str, ChannelConfig] = field(default_factory=lambda: {ROOT: ChannelConfig(ROOT)})
    warnings: list[str] = field(default_factory=list)
    named: dict[str, str] = field(default_factory=dict)  # complete name -> its entry
    numbered: set[str] = field(default_factory=set)  # complete names whose entry gives a capacity

    def warn(self, entry: str, text: str) -> None:
        self.warnings.append(f"{entry}: {text}")


def complete_name(name: str | None) -> str:
    """The name with its ``root.``: ``sale`` is ``root.sale``; no name at all is ``root``."""
    if not name or name == ROOT:
        return ROOT
    return name if name.startswith(ROOT + ".") else f"{ROOT}.{name}"


def ancestors(name: str) -> Iterator[str]:
    """The complete names above a complete name, ``root`` first."""
    parts = name.split(".")
    for length in range(1, len(parts)):
        yield ".".join(parts[:length])


def parse_channels(text: str) -> Parsed:
    """Read a configuration string. An empty one is ``root:1``. Raises :class:`ChannelSyntaxError`."""
    reading = _Reading()
    for piece in text.replace("\n", ",").split(","):
        entry = piece.strip()
        if entry:
            _read_entry(entry, reading)
    _switch_off(text, reading)
    _compare_capacities(reading)
    return Parsed(tuple(reading.channels.values()), tuple(reading.warnings))


def _read_entry(entry: str, reading: _Reading) -> None:
    items = [item.strip() for item in entry.split(":")]
    if not items[0]:
        raise ChannelSyntaxError(entry, f"the name of the channel is missing; {EXPECTED}")
    name = complete_name(items[0])
    if name in reading.named:
        reading.warn(entry, f"{name} was given before ({reading.named[name]}); this entry replaces all of it")
    if "" in name.split("."):
        reading.warn(entry, "the name has an empty part; is there a dot too many?")
    reading.numbered.discard(name)
    capacity: int | None = 1
    if len(items) > 1:
        capacity = _read_capacity(entry, name, items[1], reading)
        reading.numbered.add(name)
    keys = _split_keys(entry, items[2:], reading)
    channel = _apply_keys(entry, ChannelConfig(name, capacity), keys, reading)
    for above in ancestors(name):
        reading.channels.setdefault(above, ChannelConfig(above, None))
    reading.channels[name] = channel
    reading.named[name] = entry


def _read_capacity(entry: str, name: str, text: str, reading: _Reading) -> int | None:
    try:
        number = int(text)
    except ValueError:
        problem = f"the capacity {text!r} is not a whole number; {EXPECTED}"
        if text.partition("=")[0].strip() in KNOWN_KEYS:
            problem += f" (the capacity comes before the keys: {entry.partition(':')[0].strip()}:1:{text})"
        raise ChannelSyntaxError(entry, problem) from None
    if number > 0:
        return number
    if name == ROOT:
        return 0  # _switch_off says so
    if number == 0:
        reading.warn(entry, "capacity 0 means unlimited, within the channels above; to stop it: paused")
        return None
    reading.warn(entry, f"with capacity {number} no job ever starts; to stop it: paused")
    return 0


def _split_keys(entry: str, items: list[str], reading: _Reading) -> dict[str, str | None]:
    """The keys of an entry; the value is None where none is written."""
    keys: dict[str, str | None] = {}
    for item in items:
        parts = [part.strip() for part in item.split("=")]
        if len(parts) > 2:
            raise ChannelSyntaxError(entry, f"{item!r} has more than one '='; expected key or key=value")
        key = parts[0]
        if not key:
            reading.warn(entry, f"an option without a name ({item!r}) is ignored; is there a colon too many?")
            continue
        if key in keys or key in ("name", "capacity"):
            raise ChannelSyntaxError(entry, f"{key} is given twice; expected each option once")
        keys[key] = parts[1] if len(parts) == 2 else None
    return keys


def _apply_keys(
    entry: str, channel: ChannelConfig, keys: Mapping[str, str | None], reading: _Reading
) -> ChannelConfig:
    for key, value in keys.items():
        if key == "sequential":
            channel = replace(channel, sequential=_flag(value))
        elif key == "paused":
            channel = replace(channel, paused=_flag(value))
        elif key == "throttle":
            channel = replace(channel, throttle=_read_throttle(entry, value, reading))
        elif key in KEYS:
            channel = _apply_own_key(entry, channel, key, value or "", reading)
        else:
            near = difflib.get_close_matches(key.lower(), KNOWN_KEYS, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else "known are " + ", ".join(KNOWN_KEYS)
            reading.warn(entry, f"unknown option {key!r}, ignored; {hint}")
    if channel.sequential and channel.capacity != 1:
        raise ChannelSyntaxError(entry, "a sequential channel runs one job at a time; expected capacity 1")
    if "burst" in keys and not channel.rate:
        reading.warn(entry, "burst has no meaning without a rate, for instance rate=5/s:burst=10")
    if channel.batch > 1 and (channel.sequential or channel.throttle or channel.rate):
        reading.warn(entry, "batch has no effect beside sequential, throttle or rate: each job starts alone")
    return channel


def _apply_own_key(
    entry: str, channel: ChannelConfig, key: str, value: str, reading: _Reading
) -> ChannelConfig:
    """A key that OCA does not know. To OCA its value is any word, so a wrong one is no error but a warning."""
    try:
        return replace(channel, **{key: KEYS[key].read(value)})
    except ValueError as error:
        reading.warn(entry, f"{key}={value} {error}, ignored; expected: {KEYS[key].example}")
        return channel


def _flag(value: str | None) -> bool:
    return value is None or not is_off(value)


def _read_throttle(entry: str, value: str | None, reading: _Reading) -> float:
    if value is None:
        reading.warn(entry, "throttle without a number is one second between two starts; write throttle=1")
        return 1.0
    if value and not _flag(value):
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise ChannelSyntaxError(entry, f"throttle={value} is no number of seconds; expected: throttle=5")
    if seconds < 0:
        reading.warn(entry, f"throttle={value} is negative and does not slow the channel")
        return 0.0
    return seconds


def _switch_off(text: str, reading: _Reading) -> None:
    """``root:0``. OCA looks at how the whole string begins, whatever a later entry says of root."""
    root = reading.channels[ROOT]
    if text.strip().startswith(f"{ROOT}:0") or root.capacity == 0:
        reading.warn(f"{ROOT}:0", "the runner is switched off, no job starts; root:N lets N jobs run at once")
        reading.channels[ROOT] = replace(root, capacity=0)


def _compare_capacities(reading: _Reading) -> None:
    """Say which channels can never use their capacity because of one above."""
    if reading.channels[ROOT].capacity == 0:
        return
    implicit = ROOT not in reading.numbered
    wide = [
        entry
        for name, entry in reading.named.items()
        if name != ROOT and _above_one(reading.channels[name].capacity)
    ]
    if implicit and wide:
        reading.warnings.append(
            f"root: it has no capacity in this configuration, so it is 1: only one job at a time runs in all "
            f"channels together, also in {', '.join(wide)}; add root:N, N being how many jobs may run at once"
        )
    for name, entry in reading.named.items():
        above = (reading.channels[up] for up in ancestors(name) if not (implicit and up == ROOT))
        bounds = [(channel.capacity, channel.name) for channel in above if channel.capacity is not None]
        capacity = reading.channels[name].capacity
        if bounds and capacity is not None and capacity > min(bounds)[0]:
            least, tightest = min(bounds)
            reading.warn(entry, f"larger than {tightest}, which never runs more than {least} at a time")


def _above_one(capacity: int | None) -> bool:
    return capacity is None or capacity > 1
