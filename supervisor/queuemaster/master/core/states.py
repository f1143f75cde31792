"""A state machine changes its state in one place, which checks the change and logs it. Pure."""

from __future__ import annotations

import enum
import logging
from collections.abc import Mapping
from typing import TypeVar

from .events import Log
from .events import log as _log

S = TypeVar("S", bound=enum.Enum)


class IllegalTransition(Exception):
    """A mistake in the master: what it wanted to do makes no sense in the state that it is in."""


def change(machine: str, legal: Mapping[S, frozenset[S]], old: S, new: S, **context: object) -> Log:
    """The line of the log that tells of the change. ``legal``: by state those that may follow it.

    Raises :class:`IllegalTransition`.
    """
    if new not in legal[old]:
        raise IllegalTransition(f"{machine}: {new.value} cannot follow {old.value} ({context})")
    return _log(logging.DEBUG, "state changed", of=machine, old=old.value, new=new.value, **context)
