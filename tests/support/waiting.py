"""Waiting on a condition, with a deadline: what the tests do instead of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal, TypeVar

T = TypeVar("T")


def wait_until(
    predicate: Callable[[], T | Literal[False] | None],
    timeout: float = 60.0,
    message: str | Callable[[], str] = "",
) -> T:
    """Call ``predicate`` until it returns something true, and return that.

    It is called a hundred times a second at first, and twenty times a second once the wait has lasted for 2.5 seconds.
    After ``timeout`` seconds the test fails; ``message`` says what was waited for; one that shows
    a state, a log for instance, is a function, or it would show how things were before the wait.
    """
    began = time.monotonic()
    deadline = began + timeout
    while True:
        result = predicate()
        if result:
            return result
        if time.monotonic() > deadline:
            shown = message() if callable(message) else message
            condition = shown or getattr(predicate, "__qualname__", "the condition")
            raise AssertionError(f"after {timeout:g} s still not: {condition} (last: {result!r})")
        time.sleep(min(max(0.01, (time.monotonic() - began) / 50), 0.05))
