"""A state machine changes its state in one place, which checks the step against a table of the legal ones."""

from __future__ import annotations

from typing import AbstractSet, Mapping, TypeVar

S = TypeVar("S")


class IllegalTransition(Exception):
    """A bug of ours: a step that makes no sense in the state that the machine is in."""


def require_legal(machine: str, legal: Mapping[S, AbstractSet[S]], old: S, new: S) -> None:
    """Raise :class:`IllegalTransition` unless ``new`` may follow ``old``. ``legal``: by state those that may follow."""
    if new not in legal[old]:
        raise IllegalTransition(f"{machine}: {_word(new)} cannot follow {_word(old)}")


def _word(state: object) -> object:
    return getattr(state, "value", state)
