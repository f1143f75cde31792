"""A state machine changes its state in one place, which checks the change and logs it. Pure."""

from __future__ import annotations

import enum
import logging
from collections.abc import Mapping
from typing import TypeVar

from queuejobs.shared.transitions import require_legal

from .events import Log
from .events import log as _log

S = TypeVar("S", bound=enum.Enum)


def change(machine: str, legal: Mapping[S, frozenset[S]], old: S, new: S, **context: object) -> Log:
    """The line of the log that tells of the change. ``legal``: by state those that may follow it.

    Raises :class:`IllegalTransition`.
    """
    require_legal(machine, legal, old, new)
    return _log(logging.DEBUG, "state changed", of=machine, old=old.value, new=new.value, **context)
