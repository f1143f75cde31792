"""Durations, counts and errors in words."""

from __future__ import annotations

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def lasting(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``3 min 5 s``, ``2 h 5 min``, ``4 d 2 h``: two units at most."""
    seconds = max(seconds, 0.0)
    if seconds < 10:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    rest = round(seconds)
    words: list[str] = []
    for size, unit in _UNITS:
        count, rest = divmod(rest, size)
        if count or words:
            words.append(f"{count} {unit}" if count else "")
        if len(words) == 2:
            break
    return " ".join(word for word in words if word)


def counted(number: int, thing: str) -> str:
    """``1 job``, ``2 jobs``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def first_line(text: str) -> str:
    """The first line of an error, cut to what fits in a sentence."""
    line = text.strip().partition("\n")[0]
    return line if len(line) <= 200 else f"{line[:199]}…"
