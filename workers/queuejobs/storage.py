"""Store prepared jobs: all jobs of one call with one INSERT, all their dependencies with another.

An open transaction of another session may hold an identity key, and until it ends nobody knows whether its job will
exist. Most transactions are short, so we wait for a moment; if that does not help, our job is stored without its key.
A job that runs twice is better than one that never runs, and than a request that hangs on a long transaction.
"""

from __future__ import annotations

import logging
from typing import AbstractSet, Any, Callable, Dict, FrozenSet, Iterable, List, Mapping, Optional, Sequence

import psycopg2.errors

from .environment import Environment
from .identity import JobGraph, Plan, plan
from .job import Job
from .store import jobs as statements
from .store.atomic import atomic, lock_timeout

ExistingJobs = Mapping[str, Optional[Job]]  # by uuid of a job that is not stored: the job that has its key
Sink = Callable[[Environment, Sequence[JobGraph]], ExistingJobs]

# below PostgreSQL's deadlock_timeout: of two sessions that wait for each other's keys, none is ended as a deadlock
_PATIENCE = "900ms"
_PROBE = "20ms"
_MOST_QUEUED = 16  # keys of a call that are queued up for: enough to put calls with the same keys in order
_BUSY = (psycopg2.errors.LockNotAvailable, psycopg2.errors.DeadlockDetected)
_logger = logging.getLogger(__name__)
_sinks: List[Sink] = []  # replacements for the database, the last one is used: see queuejobs.testing


class _KeyTakenMeanwhile(Exception):
    """A key was free when we read and taken when we wrote: read again."""


def store(env: Environment, graphs: Sequence[JobGraph]) -> ExistingJobs:
    """Store the graphs whose identity keys are not all taken; each stored job gets its database id and times.

    Returns, by uuid of a job that is not stored, the job that has its key (None if it has no key itself).
    ``ValueError`` for a value of the application whose column the table lacks.
    """
    return (_sinks[-1] if _sinks else _store)(env, graphs)


def _store(env: Environment, graphs: Sequence[JobGraph]) -> ExistingJobs:
    cr = statements.plain_cursor(env.cr)
    has_keys = any(job.identity_key for graph in graphs for job in graph.jobs)
    if not has_keys and not any(graph.edges for graph in graphs):
        _write(cr, Plan(graphs, frozenset(), {}))
        return {}
    with atomic(cr):
        if has_keys:
            return _store_keyed(env, cr, graphs)
        _write(cr, Plan(graphs, frozenset(), {}))
        return {}


def _store_keyed(env: Environment, cr: Any, graphs: Sequence[JobGraph]) -> ExistingJobs:
    # wait for a lock on the whole table here, so that a lock that times out below is the lock of a key
    statements.lock_table(cr)
    jobs = [job for graph in graphs for job in graph.jobs if job.identity_key]
    keys = sorted({job.identity_key for job in jobs if job.identity_key})
    try:
        with atomic(cr), lock_timeout(cr, _PATIENCE):
            statements.queue_up(cr, keys[:_MOST_QUEUED])
    except _BUSY:
        pass  # a long transaction holds one of the keys: inserting the rows below tells which
    busy: AbstractSet[str] = frozenset()
    while True:
        rows = statements.by_identity(cr, {job.identity_key for job in jobs})
        planned = plan(graphs, {key: Job(env, row) for key, row in rows.items()}, busy)
        try:
            with atomic(cr), lock_timeout(cr, _PATIENCE):
                _write(cr, planned)
            return planned.existing
        except _KeyTakenMeanwhile:
            continue
        except _BUSY:
            busy = busy | _busy_keys(cr, jobs)


def _write(cr: Any, planned: Plan) -> None:
    jobs = [job for graph in planned.graphs for job in graph.jobs]
    if not jobs:
        return
    rows = [_row(job, planned.keyless) for job in jobs]
    names = {name for job in jobs for name in job.extra}
    stored = statements.insert(cr, rows, _extra_columns(cr, names) if names else None)
    if len(stored) < len(jobs):
        raise _KeyTakenMeanwhile
    for job, row in zip(jobs, rows):
        generated = zip(("id", "eta", "date_created"), stored[job.uuid])
        job._row.update(generated, identity_key=row["identity_key"], retry=0, attempt=0)
    edges = [
        (graph.jobs[parent].id, graph.jobs[child].id)
        for graph in planned.graphs
        for parent, child in graph.edges
    ]
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
    columns = statements.added_columns(cr)
    missing = sorted(set(names) - set(columns))
    if missing:
        raise ValueError(
            f"_job_store_values: the table queuemaster.queue_job has no column {missing[0]!r}: add it with"
            f' "alter table queuemaster.queue_job add column {missing[0]} …"'
        )
    return {name: columns[name] for name in names}


def _busy_keys(cr: Any, jobs: Iterable[Job]) -> FrozenSet[str]:
    """The keys that open transactions hold, found by inserting the jobs one by one. Slow, but rarely needed."""
    busy = set()
    for job in jobs:
        try:
            with atomic(cr), lock_timeout(cr, _PROBE):
                statements.insert(cr, [_row(job, frozenset())])
                raise _KeyTakenMeanwhile  # roll back to the savepoint
        except _BUSY:
            busy.add(job.identity_key)
        except _KeyTakenMeanwhile:
            continue
    return frozenset(busy)
