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
from .process import flush, module

Guard = Callable[[Callable[[], Any]], Any]  # calls the application's code, which may be stopped in it
_JOB = "odoo.addons.queue_job.job"
_CONTROLLER = "odoo.addons.queue_job.controllers.main"
_NOTHING_TO_DO = "Job interrupted and set to Done: nothing to do."


class Stopped(BaseException):
    """A stop (its cause) on its way through the addon's code, which calls the job failed for any Exception."""


def direct(cursor: Any, env: Any, row: Mapping[str, Any], guard: Guard) -> None:
    """The method is called, done is written in SQL, one commit. Its children are still to be released."""
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
    # children later: what this transaction's snapshot does not see, it must not judge
    if not claims.finish(cursor, row, text, time.monotonic() - started, release=False):
        raise RunTakenAway
    cursor.commit()


def by_addon(
    cursor: Any, env: Any, registry: Any, row: Mapping[str, Any], guard: Guard, *, started: bool
) -> None:
    """As Odoo's own worker does it; its children are still to be released.

    Raises what the job raised, which the addon may have stored already, or may not; a retry it stores and keeps.
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
    # the addon would repeat what failed in the same snapshot
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
    """The addon's way, before 18, for a job to be done without having done anything."""
    kind = getattr(module("odoo.addons.queue_job.exception"), "NothingToDoJob", None)
    return kind is not None and isinstance(error, kind)


def _taken(cursor: Any, env: Any, kind: Any, row: Mapping[str, Any], started: bool) -> Any:
    job_class = module(_JOB).Job
    if started:  # by the claim
        return job_class.load(env, row["uuid"])
    # who else claims looks at this row too, and holds it for a moment: wait, since the addon does not
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
    value = (
        json.loads(text) if text[0] == '"' else text
    )  # where the column is jsonb, it holds the JSON as a string
    return json.loads(value, cls=module("odoo.addons.queue_job.fields").JobDecoder, env=env)


def _no_commit(cursor: Any) -> ContextManager[Any]:
    """Where the addon forbids a job to commit, so do we, in its words."""
    forbid = getattr(module(_CONTROLLER), "_prevent_commit", None)
    forbidden: ContextManager[Any] = contextlib.nullcontext() if forbid is None else forbid(cursor)
    return forbidden
