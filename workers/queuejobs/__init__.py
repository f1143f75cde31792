"""What an application imports: delay calls of methods as jobs in PostgreSQL.

Standard library and psycopg2 only, Python 3.8 and later. The public names are loaded when the first of
them is used: the service's master imports modules of this package, and must not load a database driver with them.
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

# where the public names are; ``queue`` and ``model`` register what they define, so all are loaded at once
_MODULES = ("delay", "environment", "exception", "functions", "identity", "job", "model", "queue")


def __getattr__(name: str) -> Any:
    # only public names: `from . import registry` asks here too, before it looks for a module of that name
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for module in [importlib.import_module(f".{path}", __name__) for path in _MODULES]:
        globals().update({public: vars(module)[public] for public in __all__ if public in vars(module)})
    return globals()[name]
