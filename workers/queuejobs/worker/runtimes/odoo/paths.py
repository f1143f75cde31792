"""The two ways to run a job in Odoo's transaction: directly, and by the addon's own ``Job`` and controller."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any, Callable, ContextManager, Mapping

from ....properties import storable
from ....store import claims, odoo_runs
from ..base import STOPS, RunTakenAway
from . import hooks
from .process import addon, flush

Guard = Callable[[Callable[[], Any]], Any]  # calls a function in which the run may be stopped from outside
_NOTHING_TO_DO = "Job interrupted and set to Done: nothing to do."


class Stopped(BaseException):
    """Carries a stop (its cause) through the addon's code, which treats any Exception as a failure of the job."""


def direct(cursor: Any, env: Any, row: Mapping[str, Any], guard: Guard) -> None:
    """Call the method, write ``done`` in SQL, and commit once. The caller releases the job's children.

    Raises what the job raised, and :class:`RunTakenAway`; then nothing is committed.
    """
    started = time.monotonic()

    def call() -> Any:
        records = _decoded(env, row["records"])
        method = getattr(records.with_context(job_uuid=row["uuid"]), row["method_name"])
        args, kwargs = _decoded(env, row["args"]) or (), _decoded(env, row["kwargs"]) or {}
        with _no_commit(cursor):
            try:
                returned = method(*args, **kwargs)
            except Exception as error:
                if not is_nothing_to_do(error):
                    raise
                returned = str(error) or _NOTHING_TO_DO
            flush(cursor, env)
        return returned

    result = guard(call)
    text = storable(str(result)) if result else None  # as the addon stores it
    # the children are released later: this snapshot does not see which of their other parents are done by now
    if not claims.finish(cursor, row, text, time.monotonic() - started, release=False):
        raise RunTakenAway
    cursor.commit()


def by_addon(
    cursor: Any, env: Any, registry: Any, row: Mapping[str, Any], guard: Guard, *, started: bool
) -> None:
    """Run the job as the addon's own worker does. The caller releases the job's children.

    Raises what the job raised, whether or not the addon has stored that already; but not for a retry, which the
    addon stores itself. Raises :class:`RunTakenAway` if another runner has the job.
    """
    kind = hooks.controller(registry)
    job = _taken(cursor, env, kind, row, started)
    perform = job.perform

    def guarded() -> Any:
        try:
            return guard(perform)
        except STOPS as stopped:
            raise Stopped from stopped

    job.perform = guarded
    # the addon would try again after a conflict in the same snapshot, which can only fail
    job.should_check_dependents = lambda: False
    if hasattr(kind, "_runjob"):
        kind._runjob(env, job)
    else:
        try:
            kind()._try_perform_job(env, job)
        except Exception as error:
            if not is_nothing_to_do(error):
                raise
            job.set_done(str(error) or _NOTHING_TO_DO)
            job.store()
    cursor.commit()


def is_nothing_to_do(error: BaseException) -> bool:
    """Whether it is the error by which, before Odoo 18, a job says that it is done without having done anything."""
    error_class = getattr(addon("exception"), "NothingToDoJob", None)
    return error_class is not None and isinstance(error, error_class)


def _taken(cursor: Any, env: Any, kind: Any, row: Mapping[str, Any], started: bool) -> Any:
    """The addon's ``Job``, started by the claim or here."""
    job_class = addon("job").Job
    if started:
        return job_class.load(env, row["uuid"])
    # other claims lock this row for a moment. The addon would skip a locked row, so wait for the lock first
    odoo_runs.lock_job(cursor, row)
    if hasattr(kind, "_acquire_job"):
        job = kind._acquire_job(env, row["uuid"])
        if job is None:
            raise RunTakenAway
        return job
    return job_class.load(env, row["uuid"])


def _decoded(env: Any, text: str) -> Any:
    if not text:
        return None
    # a column of type jsonb holds the addon's JSON as a string
    value = json.loads(text) if text[0] == '"' else text
    return json.loads(value, cls=addon("fields").JobDecoder, env=env)


def _no_commit(cursor: Any) -> ContextManager[Any]:
    """The addon's context manager that forbids commits in a job; one that does nothing if the addon has none."""
    forbid = getattr(addon("controllers.main"), "_prevent_commit", None)
    forbidden: ContextManager[Any] = contextlib.nullcontext() if forbid is None else forbid(cursor)
    return forbidden
