"""Other jobs as parts of a sentence."""

from __future__ import annotations

from collections.abc import Iterable

from queuejobs.shared.job_state import JobState
from queuemaster.words import first_line, lasting

from .facts import OtherJob

SHOWN = 3  # jobs that are named in one sentence


def named(job: OtherJob) -> str:
    """A job as part of a sentence: its uuid, its call, and details of its state."""
    words = [job.call]
    if job.started_ago is not None and job.state == JobState.STARTED:
        words.append(f"for {lasting(job.started_ago)}")
        if job.worker is not None:
            words.append(
                f"worker {job.worker.pid} on {job.worker.host}" if job.worker.alive else "worker dead"
            )
    if job.error and job.state == JobState.FAILED:
        words.append(f"failed: {first_line(job.error)}")
    if job.eta_in is not None and job.state == JobState.PENDING:
        words.append(f"due in {lasting(job.eta_in)}")
    return f"{job.uuid} ({', '.join(words)})"


def listed(jobs: Iterable[OtherJob], count: int | None = None) -> str:
    """The first few, and how many more there are."""
    known = tuple(jobs)
    more = (len(known) if count is None else count) - len(known[:SHOWN])
    names = ", ".join(named(job) for job in known[:SHOWN])
    return f"{names} and {more} more" if more > 0 else names
