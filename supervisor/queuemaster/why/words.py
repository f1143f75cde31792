"""Times and jobs, as people say them."""

from __future__ import annotations

from collections.abc import Iterable

from .facts import Other

SHOWN = 3  # jobs that are named in one sentence

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def lasting(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``3 min 5 s``, ``2 h 5 min``, ``4 d 2 h``: two units at most."""
    seconds = max(seconds, 0.0)
    if seconds < 10:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    left = round(seconds)
    words: list[str] = []
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count or words:
            words.append(f"{count} {unit}" if count else "")
        if len(words) == 2:
            break
    return " ".join(word for word in words if word)


def counted(number: int, thing: str) -> str:
    """``1 job``, ``2 jobs``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def named(job: Other) -> str:
    """A job that is named as part of a sentence: its uuid, its call, what matters of its state."""
    words = [job.call]
    if job.started_ago is not None and job.state == "started":
        words.append(f"for {lasting(job.started_ago)}")
        if job.worker is not None:
            words.append(
                f"worker {job.worker.pid} on {job.worker.host}" if job.worker.alive else "worker dead"
            )
    if job.error and job.state == "failed":
        words.append(f"failed: {first_line(job.error)}")
    if job.eta_in is not None and job.state == "pending":
        words.append(f"due in {lasting(job.eta_in)}")
    return f"{job.uuid} ({', '.join(words)})"


def listed(jobs: Iterable[Other], count: int | None = None) -> str:
    """The first few, and how many more there are."""
    every = tuple(jobs)
    more = (len(every) if count is None else count) - len(every[:SHOWN])
    said = ", ".join(named(job) for job in every[:SHOWN])
    return f"{said} and {more} more" if more > 0 else said


def first_line(text: str) -> str:
    """What of an error fits in a sentence."""
    line = text.strip().partition("\n")[0]
    return line if len(line) <= 200 else f"{line[:199]}…"
