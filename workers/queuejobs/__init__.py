"""What an application imports: delay calls of methods as jobs in PostgreSQL.

Standard library and psycopg2 only, Python 3.8 and later. The names of :mod:`queuejobs.api` are loaded when the
first of them is used: the service's master imports modules of this package that are not among them, and must
not load a database driver along.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import *  # noqa: F403


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


def __getattr__(name: str) -> Any:
    # only these: `from . import registry` asks here too, before it looks for a module of that name
    if name in __all__:
        return getattr(importlib.import_module(".api", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
