"""What an application imports: delay calls of methods as jobs in PostgreSQL.

Standard library and psycopg2 only, Python 3.8 and later. Each public name is loaded when it is first used: the
service's master imports modules of this package, and must not load a database driver along with them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

# the module of each public name that is not in ``exception``
_MODULES = {
    "Delayable": "delay",
    "Environment": "environment",
    "Job": "job",
    "JobFunction": "functions",
    "Model": "model",
    "Queue": "queue",
    "chain": "delay",
    "group": "delay",
    "identity_exact": "identity",
    "job_function": "functions",
}


def __getattr__(name: str) -> Any:
    # only public names: `from . import registry` asks here too, before it looks for a module of that name
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # it registers the model queue.job, through which jobs are enqueued
    importlib.import_module(".queue", __name__)
    value = getattr(importlib.import_module(f".{_MODULES.get(name, 'exception')}", __name__), name)
    globals()[name] = value
    return value
