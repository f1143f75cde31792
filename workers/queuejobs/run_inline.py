"""A bypass of the queue for development and tests: delayed calls are made at once and nothing is stored."""

from __future__ import annotations

import logging
import os
from typing import Any

from .environment import Environment
from .identity import JobGraph
from .job import Job
from .perform import result_text
from .shared.amounts import is_off
from .shared.job_state import JobState

_logger = logging.getLogger(__name__)
_VARIABLES = ("QUEUE_JOB__NO_DELAY", "TEST_QUEUE_JOB_NO_DELAY")
_CONTEXT_KEYS = ("queue_job__no_delay", "test_queue_job_no_delay")


def is_bypassed(env: Environment) -> bool:
    """Whether an environment variable of the process or the context of ``env`` turns the bypass on."""
    if not all(is_off(os.environ.get(name, "").strip()) for name in _VARIABLES):
        return True
    return any(env.context.get(key) for key in _CONTEXT_KEYS)


def run(graph: JobGraph) -> None:
    """Make the calls of a graph, parents first. An error goes to the caller, and the calls after it are not made."""
    for job in graph.jobs:
        _logger.warning("%s runs at once instead of being delayed: never in production", job.func_string)
        perform(job)


def perform(job: Job) -> Any:
    """Make the call of a job that is not stored, in the job's environment; returns what the method returned."""
    records = job.records.with_context(job_uuid=job.uuid)
    result = getattr(records, job.method_name)(*job.args, **job.kwargs)
    job._row.update(state=JobState.DONE.value, result=result_text(result))
    return result
