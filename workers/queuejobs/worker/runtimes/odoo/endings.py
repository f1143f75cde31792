"""The end of an Odoo job that is not done: decide what it is, and store it through the addon's ``Job``.

It is stored through the ORM, which notifies the managers of a failure and runs what other addons hook in, and in a
transaction of its own.
"""

from __future__ import annotations

import datetime
import logging
import random
import time
import traceback
from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional, Sequence

import psycopg2

from ....exception import FailedJobError, RetryableJobError
from ....functions import JobFunction
from ....properties import storable
from ....retry import CONCURRENCY_CODES, Outcome, RetrySettings, decide
from ....shared.job_state import JobState
from ....store import claims, odoo_runs
from ..base import STOPS, RunTakenAway
from .process import addon, close, environment, flush

_log = logging.getLogger("queuemaster.odoo")
_QUERY_CANCELED = "57014"  # the cancel request for the run's query may reach the server as late as here
_TRIES = 5


class End(NamedTuple):
    """The end of a run, to be stored."""

    ending: claims.Ending
    retry: int  # the new value of the job's counter of tries
    result: Optional[str] = None  # text for the job's field ``result``, where the addon shows why a job waits


def decided(error: BaseException, row: Mapping[str, Any], settings: RetrySettings, config: Any) -> End:
    """The end of a run that raised. ``config`` is the addon's ``JobConfig`` of the method, None if there is none.

    The addon's rules hold for the addon's errors (such as ``max_retries``), ours for exceeded limits and for the
    policy ``retry``.
    """
    tries = row["retry"] + 1
    function = JobFunction(retry_pattern=getattr(config, "retry_pattern", None) or {})
    outcome = decide(_translated(error), {**row, "retry": tries}, function, settings, random)
    ending = claims.Ending(outcome.state, outcome.delay, outcome.counted, **_error_fields(error, outcome))
    message = _message(error) if outcome.state is JobState.PENDING else None
    return End(ending, tries if outcome.counted else row["retry"], message)


def doomed(row: Mapping[str, Any]) -> End:
    """The end of a job that recovery has declared failed, and that must be stored by Odoo, to notify people."""
    ending = claims.Ending(
        JobState.FAILED, None, False, row["doom_name"], row["doom_message"], row["doom_info"]
    )
    return End(ending, row["retry"])


def store(registry: Any, row: Mapping[str, Any], end: End) -> None:
    """Store the end of a run, and call ``on_fail`` of a failed job.

    Raises :class:`RunTakenAway` if the job is not this run's any more, and psycopg2.Error.
    """

    def write(cursor: Any) -> None:
        # before anything is written: a run that was taken away must not write
        if not odoo_runs.end_run(cursor, row):
            raise RunTakenAway
        _write(cursor, row, end)

    _commit(registry, write, (*CONCURRENCY_CODES, _QUERY_CANCELED))


def release_children(registry: Any, row: Mapping[str, Any]) -> None:
    """Let the children of a done job start, through the ORM. Raises psycopg2.Error."""

    def release(cursor: Any) -> None:
        addon("job").Job.load(environment(cursor), row["uuid"]).enqueue_waiting()

    _commit(registry, release, CONCURRENCY_CODES)


def _commit(registry: Any, work: Callable[[Any], None], passing: Sequence[str]) -> None:
    """Call ``work`` with a cursor and commit. After an error with an SQLSTATE in ``passing``, try again.

    Every try has a new transaction: with the same snapshot it would only fail again.
    """
    for attempt in range(_TRIES):
        cursor = registry.cursor()
        try:
            work(cursor)
            cursor.commit()
        except psycopg2.Error as error:
            if error.pgcode not in passing or attempt == _TRIES - 1:
                raise
            time.sleep(random.uniform(0.0, 0.05 * 2**attempt))  # sessions in conflict must not meet again
        else:
            return
        finally:
            close(cursor)


def _write(cursor: Any, row: Mapping[str, Any], end: End) -> None:
    env = environment(cursor)
    job = _loaded(env, row)
    values = _error_values(end.ending)
    delay = end.ending.delay or 0
    if job is None:  # its model or method does not exist any more: write the record without a Job
        eta = datetime.datetime.now() + datetime.timedelta(seconds=delay) if delay else False
        env["queue.job"].browse(row["id"]).write(
            {"state": end.ending.state.value, "retry": end.retry, "eta": eta, **values}
        )
    elif end.ending.state is JobState.FAILED:
        job.retry = end.retry
        job.set_failed(**values)
        job.store()
    else:
        job.retry = end.retry
        job.postpone(result=end.result, seconds=delay)
        # for 0 seconds postpone() has set the delay of the retry pattern
        job.eta = datetime.timedelta(seconds=delay) if delay else None
        job.set_pending(reset_retry=False)
        for name, value in values.items():
            setattr(job, name, value)
        job.store()
    flush(cursor, env)
    if end.ending.state is JobState.FAILED and hasattr(job, "on_fail"):
        _on_fail(cursor, env, job, values)


def _loaded(env: Any, row: Mapping[str, Any]) -> Any:
    try:
        return addon("job").Job.load(env, row["uuid"])
    except psycopg2.Error:
        raise
    except Exception:  # KeyError, AttributeError, or anything that decoding an argument raises
        _log.exception("job %s cannot be loaded", row["uuid"])
        return None


def _error_values(ending: claims.Ending) -> Dict[str, Any]:
    """Those of ``exc_name``, ``exc_message`` and ``exc_info`` that the ending has."""
    values = {"exc_name": ending.exc_name, "exc_message": ending.exc_message, "exc_info": ending.exc_info}
    return {name: value for name, value in values.items() if value is not None}


def _on_fail(cursor: Any, env: Any, job: Any, values: Dict[str, Any]) -> None:
    """Call the job's ``on_fail``. If that raises, its writes are rolled back and the job stays failed."""
    try:
        with cursor.savepoint():
            job.on_fail({"exc_name": None, "exc_message": None, "exc_info": None, **values})
            flush(cursor, env)
    except psycopg2.OperationalError:
        raise
    except Exception:
        _log.exception("on_fail of job %s failed", job.uuid)


def _translated(error: BaseException) -> BaseException:
    """An error of the addon's classes as one of ours with the same meaning; any other error as it is."""
    errors = addon("exception")
    if isinstance(error, errors.RetryableJobError):
        # to the addon, 0 seconds means "not given"
        return RetryableJobError(
            str(error), getattr(error, "seconds", None) or None, bool(error.ignore_retry)
        )
    if isinstance(error, errors.FailedJobError):
        return FailedJobError(str(error))
    return error


def _error_fields(error: BaseException, outcome: Outcome) -> Dict[str, Optional[str]]:
    """``exc_name``, ``exc_message`` and ``exc_info`` as the addon would store them.

    A job that waits for its next try shows no error, unless we stopped its run.
    """
    errors = addon("exception")
    retryable = isinstance(error, errors.RetryableJobError) or outcome.concurrency
    if outcome.state is JobState.PENDING and retryable:
        return {"exc_name": None, "exc_message": None, "exc_info": None}
    if isinstance(error, STOPS):
        return {
            "exc_name": outcome.exc_name,
            "exc_message": outcome.exc_message,
            "exc_info": outcome.exc_info,
        }
    if retryable:  # its last try: the addon raises FailedJobError from it
        error = _caused(errors.FailedJobError(outcome.exc_message), error)
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    module_name = getattr(error, "__module__", "")  # instances of built-in classes have none
    return {
        "exc_name": f"{module_name}.{type(error).__name__}".lstrip("."),
        "exc_message": storable(str(error.args[0] if error.args else error)),
        "exc_info": storable(text),
    }


def _caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


def _message(error: BaseException) -> str:
    message: str = getattr(error, "pgerror", None) or str(error)
    return storable(message.strip())
