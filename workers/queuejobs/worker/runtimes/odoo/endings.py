"""How a job of Odoo's ends that is not done: decided here, stored through the addon's ``Job``.

Through the ORM and in a transaction of its own, since failures notify the managers there, and other addons look on.
"""

from __future__ import annotations

import datetime
import logging
import random
import time
import traceback
from typing import Any, Dict, Mapping, NamedTuple, Optional

import psycopg2

from ....exception import FailedJobError, RetryableJobError
from ....functions import JobFunction
from ....properties import storable
from ....retry import CONCURRENCY_CODES, Outcome, RetrySettings, decide
from ....store import claims, odoo_runs
from ..base import STOPS, RunTakenAway
from .process import close, environment, flush, module

_log = logging.getLogger("queuemaster.odoo")
_QUERY_CANCELED = "57014"  # the cancel of the run's query may reach the server only now
_TRIES = 5
_ERRORS = "odoo.addons.queue_job.exception"


class End(NamedTuple):
    """What is to be stored."""

    ending: claims.Ending
    retry: int  # what the job's counter becomes
    result: Optional[str] = None  # the addon shows there why a job waits


def decided(error: BaseException, row: Mapping[str, Any], settings: RetrySettings, config: Any) -> End:
    """The end of a run that raised. ``config``: the addon's declaration of the method, None when it has none.

    The addon's rules for its own errors, as for 5 executions at most; ours for limits and for policy ``retry``.
    """
    tries = row["retry"] + 1
    function = JobFunction(retry_pattern=getattr(config, "retry_pattern", None) or {})
    outcome = decide(_in_our_words(error), {**row, "retry": tries}, function, settings, random)
    shown = _shown(error, outcome)
    ending = claims.Ending(outcome.state, outcome.delay, outcome.counted, **shown)
    message = _line(error) if outcome.state == "pending" else None
    return End(ending, tries if outcome.counted else row["retry"], message)


def doomed(row: Mapping[str, Any]) -> End:
    """The end that recovery found for a job, and that only Odoo can tell everybody."""
    ending = claims.Ending("failed", None, False, row["doom_name"], row["doom_message"], row["doom_info"])
    return End(ending, row["retry"])


def store(registry: Any, row: Mapping[str, Any], end: End) -> None:
    """Store it; ``on_fail`` of a failed job is called. :class:`RunTakenAway`, psycopg2.Error."""
    for attempt in range(_TRIES):
        cursor = registry.cursor()
        try:
            # removed first: whose run it is not any more must not write either
            if not odoo_runs.end_run(cursor, row):
                raise RunTakenAway
            _write(cursor, row, end)
            cursor.commit()
        except psycopg2.Error as error:
            passing = error.pgcode in (*CONCURRENCY_CODES, _QUERY_CANCELED)
            if not passing or attempt == _TRIES - 1:
                raise
            time.sleep(random.uniform(0.0, 0.05 * 2**attempt))  # somebody else is at the same rows
        else:
            return
        finally:
            close(cursor)


def release_children(registry: Any, row: Mapping[str, Any]) -> None:
    """Through the ORM, each try with a snapshot of its own: a try within the same one can only fail again."""
    for attempt in range(_TRIES):
        cursor = registry.cursor()
        try:
            module("odoo.addons.queue_job.job").Job.load(environment(cursor), row["uuid"]).enqueue_waiting()
            cursor.commit()
        except psycopg2.Error as error:
            if error.pgcode not in CONCURRENCY_CODES or attempt == _TRIES - 1:
                raise
            time.sleep(random.uniform(0.0, 0.05 * 2**attempt))
        else:
            return
        finally:
            close(cursor)


def _write(cursor: Any, row: Mapping[str, Any], end: End) -> None:
    env = environment(cursor)
    job = _loaded(env, row)
    values = _values(end.ending)
    delay = end.ending.delay or 0
    if job is None:  # its model or method is gone: only the record can be written
        eta = datetime.datetime.now() + datetime.timedelta(seconds=delay) if delay else False
        env["queue.job"].browse(row["id"]).write(
            {"state": end.ending.state, "retry": end.retry, "eta": eta, **values}
        )
    elif end.ending.state == "failed":
        job.retry = end.retry
        job.set_failed(**values)
        job.store()
    else:
        job.retry = end.retry
        job.postpone(result=end.result, seconds=delay)
        # the addon takes 0 for "whatever the pattern says"
        job.eta = datetime.timedelta(seconds=delay) if delay else None
        job.set_pending(reset_retry=False)
        for name, value in values.items():
            setattr(job, name, value)
        job.store()
    flush(cursor, env)
    if end.ending.state == "failed" and hasattr(job, "on_fail"):
        _on_fail(cursor, env, job, values)


def _loaded(env: Any, row: Mapping[str, Any]) -> Any:
    try:
        return module("odoo.addons.queue_job.job").Job.load(env, row["uuid"])
    except psycopg2.Error:
        raise
    except Exception:  # KeyError, AttributeError, or what the decoding of an argument raises
        _log.exception("job %s cannot be loaded", row["uuid"])
        return None


def _values(ending: claims.Ending) -> Dict[str, Any]:
    """exc_name, exc_message, exc_info, where the ending has them."""
    given = {"exc_name": ending.exc_name, "exc_message": ending.exc_message, "exc_info": ending.exc_info}
    return {name: value for name, value in given.items() if value is not None}


def _on_fail(cursor: Any, env: Any, job: Any, values: Dict[str, Any]) -> None:
    """Whatever it does, the job stays failed."""
    try:
        with cursor.savepoint():
            job.on_fail({"exc_name": None, "exc_message": None, "exc_info": None, **values})
            flush(cursor, env)
    except psycopg2.OperationalError:
        raise
    except Exception:
        _log.exception("on_fail of job %s failed", job.uuid)


def _in_our_words(error: BaseException) -> BaseException:
    """The addon's errors as ours, for the rules that both share."""
    errors = module(_ERRORS)
    if isinstance(error, errors.RetryableJobError):
        # 0 seconds is "none said" to the addon
        return RetryableJobError(
            str(error), getattr(error, "seconds", None) or None, bool(error.ignore_retry)
        )
    if isinstance(error, errors.FailedJobError):
        return FailedJobError(str(error))
    return error


def _shown(error: BaseException, outcome: Outcome) -> Dict[str, Optional[str]]:
    """What is kept of the error. A job that waits for the next try shows none, except of what we stopped it for."""
    errors = module(_ERRORS)
    retryable = isinstance(error, errors.RetryableJobError) or outcome.concurrency
    if outcome.state == "pending" and retryable:
        return {"exc_name": None, "exc_message": None, "exc_info": None}
    if isinstance(error, STOPS):
        return {
            "exc_name": outcome.exc_name,
            "exc_message": outcome.exc_message,
            "exc_info": outcome.exc_info,
        }
    if retryable:
        error = _raised(errors.FailedJobError(outcome.exc_message), error)
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    where = getattr(error, "__module__", "")  # the instance has none where the class is Python's own
    return {
        "exc_name": f"{where}.{type(error).__name__}".lstrip("."),
        "exc_message": storable(str(error.args[0] if error.args else error)),
        "exc_info": storable(text),
    }


def _raised(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


def _line(error: BaseException) -> str:
    said = getattr(error, "pgerror", None) or str(error)
    return storable(said.strip())
