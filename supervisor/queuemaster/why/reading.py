"""One database → the facts about a job in it. Nothing is written, and no statement may take long."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from queuejobs.shared.job_state import JobState
from queuejobs.store import oca
from queuemaster.channels import Tree

from . import statements
from .facts import Facts, FirstJobs, Job, Leader, OtherJob, Worker
from .statements import NAMED

PATIENCE = 10_000  # ms for one statement: looking must not slow down the queue
LONGEST_WINDOW = 86_400.0  # seconds of earlier starts that are read for a throttle or a rate
_WAITING = (JobState.WAIT_DEPENDENCIES.value, JobState.PENDING.value, JobState.ENQUEUED.value)


def prepare(cursor: Any) -> bool:
    """Make the session read-only and its statements short. Returns whether there is a queue at all."""
    cursor.execute("set session characteristics as transaction read only")
    cursor.execute("set statement_timeout = %s", (PATIENCE,))
    cursor.execute("select to_regclass('queuemaster.queue_job') is not null")
    return bool(cursor.fetchone()[0])


def read(cursor: Any, database: str, uuid: str, tree: Tree | None, schema_problem: str = "") -> Facts | None:
    """The facts about a job of this database; None: it has no such job. ``tree``: the channels in force."""
    cursor.execute(statements.JOB, (uuid,))
    row = cursor.fetchone()
    if row is None:
        return None
    common = _other_job(row, database)
    retry, max_retries, attempt, created_ago, ended_ago, cancel_requested, unknown_for, doomed = row[11:]
    job = Job(
        common.uuid, common.call, common.state, common.channel, retry, max_retries, attempt, created_ago, common.error,
        common.eta_in, common.started_ago, ended_ago, cancel_requested, unknown_for, common.worker, doomed,
    )  # fmt: skip
    facts = Facts(database, job, _leader(cursor), schema_problem, _modules(cursor))
    if job.state not in _WAITING:
        return facts
    number = row[0]
    cursor.execute(statements.SESSIONS)
    facts = replace(
        facts,
        sessions=dict(cursor.fetchall()),
        parents=_first_jobs(cursor, statements.PARENTS, (number,), database),
        roots=_first_jobs(cursor, statements.ROOTS, (number,), database),
        running=running(cursor, database),
    )
    if job.state == JobState.PENDING:
        cursor.execute(statements.BETTER_COUNT, (number,))
        count = cursor.fetchone()[0]
        better = _other_jobs(cursor, statements.BETTER, (number, NAMED), database) if count else ()
        facts = replace(facts, better=FirstJobs(better, count))
    return facts if tree is None else _with_channels(cursor, facts, number, tree)


def running(cursor: Any, database: str) -> tuple[OtherJob, ...]:
    """Every running job: not more than there are workers."""
    return _other_jobs(cursor, statements.RUNNING, (), database)


def _with_channels(cursor: Any, facts: Facts, number: int, tree: Tree) -> Facts:
    """The facts that matter in sequential channels, and in those with a throttle or a rate."""
    path = tree.path(tree.resolve(facts.job.channel))
    sequential = {name for name in path if tree[name].sequential}
    if sequential:
        cursor.execute(statements.BLOCKING_CHANNELS)
        stored = [channel for (channel,) in cursor.fetchall() if tree.resolve(channel) in sequential]
        facts = replace(
            facts,
            failed=_other_jobs(cursor, statements.FAILED, (stored,), facts.database),
            delayed=_other_jobs(cursor, statements.DELAYED, (number, stored), facts.database),
        )
    return replace(facts, starts=_starts(cursor, tree, path))


def _starts(cursor: Any, tree: Tree, path: Collection[str]) -> tuple[tuple[str, float], ...]:
    timed = [name for name in path if tree[name].throttle or tree[name].rate]
    if not timed:
        return ()
    windows = [
        max(tree[name].throttle, (tree[name].burst + 1) / tree[name].rate if tree[name].rate else 0.0)
        for name in timed
    ]
    name = timed[-1]  # the one nearest to root
    short = name.partition(".")[2]
    window = min(max(windows), LONGEST_WINDOW)
    cursor.execute(statements.STARTS, (window, name, [name, short], f"{name}.", f"{short}."))
    return tuple((channel, float(ago)) for channel, ago in cursor.fetchall())


def _modules(cursor: Any) -> str:
    """Beside Odoo: the modules that are being installed or removed, for which jobs wait."""
    return oca.look(cursor).busy if oca.is_installed(cursor) else ""


def _leader(cursor: Any) -> Leader:
    cursor.execute(statements.LEADER)
    epoch, host, beat_ago, session, holder = cursor.fetchone()
    cursor.execute(statements.STOCK_LEADS)
    stock = holder is None and bool(cursor.fetchone()[0])
    return Leader(holder is not None, holder is not None and holder != session, host, epoch, beat_ago, stock)


def _first_jobs(cursor: Any, statement: str, parameters: tuple[Any, ...], database: str) -> FirstJobs:
    cursor.execute(statement, parameters)
    rows = cursor.fetchall()
    return FirstJobs(tuple(_other_job(row, database) for row in rows), rows[0][-1] if rows else 0)


def _other_jobs(
    cursor: Any, statement: str, parameters: tuple[Any, ...], database: str
) -> tuple[OtherJob, ...]:
    cursor.execute(statement, parameters)
    return tuple(_other_job(row, database) for row in cursor.fetchall())


def _other_job(row: tuple[Any, ...], database: str) -> OtherJob:
    _, uuid, call, state, channel, error, eta_in, started_ago, pid, host, alive = row[:11]
    worker = Worker(pid, host, alive) if pid is not None else None
    return OtherJob(uuid, call, state, channel, database, error or "", eta_in, started_ago, worker)
