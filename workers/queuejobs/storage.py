"""Store prepared jobs: all jobs of one call in one INSERT, all edges in another, identity keys honoured.

An application's open transaction may hold an identity key: whether its job will exist is not decided. We
wait for it a moment, since most transactions are short, but no longer: then the job is stored without key.
Run twice is better than never, and better than a request that hangs on somebody else's long transaction.
"""

from __future__ import annotations

import logging
from typing import AbstractSet, Any, Callable, Dict, FrozenSet, Iterable, List, Mapping, Optional, Sequence

import psycopg2.errors

from .environment import Environment
from .identity import Plan, Unit, plan
from .job import Job
from .store import jobs as statements
from .store.atomic import atomic, lock_timeout

Found = Mapping[str, Optional[Job]]
Sink = Callable[[Environment, Sequence[Unit]], Found]

_PATIENCE = "900ms"  # below deadlock_timeout: two that wait for each other's keys both let go, unharmed
_PROBE = "20ms"
_QUEUED = 16  # keys of a call that are queued up for: enough to bring those together that store the same
_BUSY = (psycopg2.errors.LockNotAvailable, psycopg2.errors.DeadlockDetected)
_logger = logging.getLogger(__name__)
_sinks: List[Sink] = []  # tests put theirs on top: see queuejobs.testing


class _TakenMeanwhile(Exception):
    """A key was free when we looked and taken when we wrote: look again."""


def store(env: Environment, units: Sequence[Unit]) -> Found:
    """Store what is not there yet; by uuid of each job that is not stored, the one that has its key."""
    return (_sinks[-1] if _sinks else _store)(env, units)


def _store(env: Environment, units: Sequence[Unit]) -> Found:
    cr = statements.plain_cursor(env.cr)
    has_keys = any(job.identity_key for unit in units for job in unit.jobs)
    if not has_keys and not any(unit.edges for unit in units):
        _write(cr, Plan(units, frozenset(), {}))
        return {}
    with atomic(cr):
        if has_keys:
            return _store_keyed(env, cr, units)
        _write(cr, Plan(units, frozenset(), {}))
        return {}


def _store_keyed(env: Environment, cr: Any, units: Sequence[Unit]) -> Found:
    # what locks the whole table is waited for here, so that a lock that times out below is a key's
    statements.lock_table(cr)
    jobs = [job for unit in units for job in unit.jobs if job.identity_key]
    keys = sorted({job.identity_key for job in jobs if job.identity_key})
    try:
        with atomic(cr), lock_timeout(cr, _PATIENCE):
            statements.queue_up(cr, keys[:_QUEUED])
    except _BUSY:
        pass  # a long transaction has one of them: the rows themselves tell below which
    busy: AbstractSet[str] = frozenset()
    while True:
        rows = statements.by_identity(cr, {job.identity_key for job in jobs})
        planned = plan(units, {key: Job(env, row) for key, row in rows.items()}, busy)
        try:
            with atomic(cr), lock_timeout(cr, _PATIENCE):
                _write(cr, planned)
            return planned.found
        except _TakenMeanwhile:
            continue
        except _BUSY:
            busy = busy | _busy_keys(cr, jobs)


def _write(cr: Any, planned: Plan) -> None:
    jobs = [job for unit in planned.units for job in unit.jobs]
    if not jobs:
        return
    rows = [_row(job, planned.keyless) for job in jobs]
    names = {name for job in jobs for name in job.extra}
    stored = statements.insert(cr, rows, _extra_columns(cr, names) if names else None)
    if len(stored) < len(jobs):
        raise _TakenMeanwhile
    for job, row in zip(jobs, rows):
        found = zip(("id", "eta", "date_created"), stored[job.uuid])
        job._row.update(found, identity_key=row["identity_key"], retry=0, attempt=0)
    edges = [(unit.jobs[one].id, unit.jobs[two].id) for unit in planned.units for one, two in unit.edges]
    if edges:
        statements.insert_edges(cr, edges)


def _row(job: Job, keyless: AbstractSet[str]) -> Dict[str, Any]:
    row = {name: job._row[name] for name in statements.PASSED}
    row.update(job.extra)
    if job.uuid in keyless:
        row["identity_key"] = None
        _logger.info("job %s gives up its identity key %r, which is taken", job.uuid, job.identity_key)
    return row


def _extra_columns(cr: Any, names: Iterable[str]) -> Dict[str, str]:
    added = statements.added_columns(cr)
    missing = sorted(set(names) - set(added))
    if missing:
        raise ValueError(
            f"_job_store_values: the table queuemaster.queue_job has no column {missing[0]!r}: add it with"
            f' "alter table queuemaster.queue_job add column {missing[0]} …"'
        )
    return {name: added[name] for name in names}


def _busy_keys(cr: Any, jobs: Iterable[Job]) -> FrozenSet[str]:
    """The keys that open transactions hold, found by trying one by one; rare, so it may be slow."""
    busy = set()
    for job in jobs:
        try:
            with atomic(cr), lock_timeout(cr, _PROBE):
                statements.insert(cr, [_row(job, frozenset())])
                raise _TakenMeanwhile  # undo it
        except _BUSY:
            busy.add(job.identity_key)
        except _TakenMeanwhile:
            continue
    return frozenset(busy)
