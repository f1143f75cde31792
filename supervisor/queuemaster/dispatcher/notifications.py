"""What a notification on the channel ``queue_job`` means. Pure.

Every role that may connect may notify, with any text. So a payload is believed only when it has exactly the form that
our triggers, or the addon's, give it, with values that can be sent back to PostgreSQL; all else is None.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from queuejobs.shared.job_key import Key

_INT4 = range(-(2**31), 2**31)
_INT8 = range(-(2**63), 2**63)
_KEY_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}", re.ASCII)
_FAR_TIME = re.compile(
    r"\d{5,6}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6} BC", re.ASCII
)
_ANY_TIME = "2026-01-01T00:00:00.000000"
_ETA = re.compile(r"-?infinity|\d{4,6}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?( BC)?", re.ASCII)
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)


@dataclass(frozen=True)
class JobReady:
    """Jobs of a stored channel became ready, the least of them with this key: ``["root", 10, "2026-…", 7]``."""

    channel: str
    key: Key


@dataclass(frozen=True)
class ChannelChanged:
    """Rows of a stored channel changed, nobody knows how: ``["root"]``."""

    channel: str


@dataclass(frozen=True)
class EtaChanged:
    """A delayed job was added or moved, in any channel: ``[null, "2026-…"]``."""


@dataclass(frozen=True)
class ControlChanged:
    """Limits were changed live: ``{"control": true}``."""


@dataclass(frozen=True)
class CancelRequested:
    """A job that runs is to be stopped: ``{"cancel": 7}``."""


@dataclass(frozen=True)
class AddonJobChanged:
    """Beside Odoo: the addon's trigger names the uuid of a row that changed, not how it changed."""

    uuid: str


@dataclass(frozen=True)
class AddonReload:
    """Beside Odoo: the addon's channels were edited (18.0.4), payload ``reload``."""


Notification = (
    JobReady | ChannelChanged | EtaChanged | ControlChanged | CancelRequested | AddonJobChanged | AddonReload
)


def decode(payload: str, encodings: Collection[str] = ("utf-8",)) -> Notification | None:
    """The meaning of a payload; None when it has none. ``encodings``: of connection and server, as Python calls them.

    A channel's name that they cannot encode is in no row, and a query that asks for it fails.
    """
    if payload == "reload":
        return AddonReload()
    if _UUID.fullmatch(payload):
        return AddonJobChanged(payload)
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError):  # a number may have too many digits, a list too many levels
        return None
    if isinstance(message, list):
        return _from_list(message, encodings)
    if isinstance(message, dict) and len(message) == 1:
        return _from_object(*next(iter(message.items())))
    return None


def _from_list(values: list[Any], encodings: Collection[str]) -> Notification | None:
    if len(values) == 2 and values[0] is None:
        return EtaChanged() if isinstance(values[1], str) and _ETA.fullmatch(values[1]) else None
    if not values or not _is_channel(values[0], encodings):
        return None
    channel, *key = values
    if not key:
        return ChannelChanged(channel)
    if _is_key(key):
        return JobReady(channel, (key[0], key[1], key[2]))
    # a date that the trigger cannot write as a key: infinite, or in a year of five digits
    return ChannelChanged(channel) if _is_key([key[0], _ANY_TIME, *key[2:]]) and _is_far(key[1]) else None


def _from_object(name: str, value: Any) -> Notification | None:
    if name == "control" and value is True:
        return ControlChanged()
    if name == "cancel" and _is_integer(value, _INT8):
        return CancelRequested()
    return None


def _is_channel(value: Any, encodings: Collection[str]) -> bool:
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        for encoding in encodings:
            value.encode(encoding)
    except UnicodeError:  # half of a surrogate pair, or a letter that the database does not have
        return False
    return True


def _is_key(values: list[Any]) -> bool:
    if len(values) != 3:
        return False
    priority, created, job = values
    return _is_integer(priority, _INT4) and _is_key_time(created) and _is_integer(job, _INT8)


def _is_key_time(value: Any) -> bool:
    if not isinstance(value, str) or not _KEY_TIME.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:  # a 30th of February
        return False
    return True


def _is_far(value: Any) -> bool:
    return value is None or (isinstance(value, str) and _FAR_TIME.fullmatch(value) is not None)


def _is_integer(value: Any, allowed: range) -> bool:
    return type(value) is int and value in allowed  # a bool is an int, too
