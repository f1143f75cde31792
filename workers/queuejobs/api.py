"""The public names in one place: what ``import queuejobs`` gives, once the first of them is used."""

from __future__ import annotations

from .delay import Delayable, chain, group
from .environment import Environment
from .exception import (
    CommitInJobError,
    FailedJobError,
    JobError,
    NoSuchJobError,
    NoSuchMethodError,
    NoSuchModelError,
    RetryableJobError,
    TimeoutJobError,
)
from .functions import JobFunction, job_function
from .identity import identity_exact
from .job import Job
from .model import Model
from .queue import Queue

__all__ = [
    "CommitInJobError",
    "Delayable",
    "Environment",
    "FailedJobError",
    "Job",
    "JobError",
    "JobFunction",
    "Model",
    "NoSuchJobError",
    "NoSuchMethodError",
    "NoSuchModelError",
    "Queue",
    "RetryableJobError",
    "TimeoutJobError",
    "chain",
    "group",
    "identity_exact",
    "job_function",
]
