"""Statements that enqueue and read jobs. Each runs in the transaction of the caller, with its cursor ``cr``."""

from __future__ import annotations

import json
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

import psycopg2.extensions

from ..shared.job_state import JobState
from . import locks

FINAL = (JobState.DONE.value, JobState.FAILED.value, JobState.CANCELLED.value)
STATES = tuple(state.value for state in JobState)

# What is read of a job.
COLUMNS = (
    *("id", "uuid", "graph_uuid", "user_id", "company_id", "name", "model_name", "method_name"),
    *("records", "args", "kwargs", "func_string", "state", "priority", "exc_name", "exc_message"),
    *("exc_info", "result", "date_created", "date_enqueued", "date_started", "date_done"),
    *("date_cancelled", "exec_time", "eta", "retry", "max_retries", "channel_method_name", "channel"),
    *("identity_key", "worker_pid", "attempt", "worker_id", "timeout", "cpu", "memory", "cancel_requested"),
    *("on_fail", "doomed"),
)
# The columns of the queue: what an application adds to a job must have another name.
CORE = frozenset((*COLUMNS, "unknown_since", "concurrency_retries"))
# Read as text: the model layer decodes the documents, and psycopg2 must not do it first.
DOCUMENTS = ("records", "args", "kwargs")
SELECTED = ", ".join(f"{name}::text as {name}" if name in DOCUMENTS else name for name in COLUMNS)

# What the enqueueing side passes, with types. eta is absolute (UTC); eta_seconds counts from now on the server's clock.
PASSED = {
    **{"uuid": "text", "graph_uuid": "text", "user_id": "integer", "company_id": "integer", "name": "text"},
    **{"model_name": "text", "method_name": "text", "records": "text", "args": "text", "kwargs": "text"},
    **{"func_string": "text", "state": "text", "priority": "integer", "eta": "timestamp"},
    **{"eta_seconds": "double precision", "max_retries": "integer", "channel_method_name": "text"},
    **{"channel": "text", "identity_key": "text", "timeout": "double precision"},
    **{"cpu": "double precision", "memory": "bigint", "on_fail": "boolean"},
}
_TARGETS = [name for name in PASSED if name != "eta_seconds"]
_ETA = """case when eta_seconds is null then case when eta > queuemaster.utc_now() then eta end
               when eta_seconds > 0 then queuemaster.utc_now() + make_interval(secs => eta_seconds) end"""
_SOURCES = [{"eta": _ETA}.get(n, f"{n}::json" if n in DOCUMENTS else n) for n in _TARGETS]

# One document for any number of jobs: one parameter to parse, and ids and dates of creation follow the order in the
# document. A job whose identity key is taken is not in the answer.
INSERT = """
insert into queuemaster.queue_job ({targets})
select {sources}
  from json_to_recordset(%s) as passed({passed})
on conflict (identity_key)
   where identity_key is not null and state in ('wait_dependencies', 'pending', 'enqueued') do nothing
returning uuid, id, eta, date_created
"""

EDGES = """
insert into queuemaster.queue_job_edge (parent_id, child_id) select * from unnest(%s::bigint[], %s::bigint[])
"""

ADDED_COLUMNS = """
select attname, format_type(atttypid, atttypmod) from pg_attribute
 where attrelid = 'queuemaster.queue_job'::regclass and attnum > 0 and not attisdropped
"""

BY_UUID = f"select {SELECTED} from queuemaster.queue_job where uuid = any(%s)"

# Plan: index scan of queue_job_identity.
BY_IDENTITY = f"""
select {SELECTED} from queuemaster.queue_job
 where identity_key = any(%s) and identity_key is not null
   and state in ('wait_dependencies', 'pending', 'enqueued')
"""

# A transaction that sees a row whose writer is still in progress has written it itself, or one of its savepoints has.
# xmin has only 32 bits of the writer's id; the others come from the end of the snapshot, which the writer may have
# passed.
STATE = """
select state, case when writer >= next then true
                   when writer < 3 then false
                   else coalesce(pg_xact_status(writer::text::xid8) = 'in progress', false) end
  from (select state, next, next + case when apart > 2147483648 then apart - 4294967296
                                        when apart < -2147483648 then apart + 4294967296
                                        else apart end as writer
          from (select state, next, xmin::text::bigint - next %% 4294967296 as apart
                  from queuemaster.queue_job,
                       (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as next) snapshot
                 where uuid = %s) job) ages
"""


def plain_cursor(cr: Any) -> Any:
    """A cursor of the same transaction whose rows are tuples, whatever kind the application uses."""
    connection = getattr(cr, "connection", None)
    if connection is None:
        return cr
    return connection.cursor(cursor_factory=psycopg2.extensions.cursor)


def insert(
    cr: Any, rows: Sequence[Mapping[str, Any]], extra: Optional[Mapping[str, str]] = None
) -> Dict[str, Tuple[Any, ...]]:
    """Store rows of :data:`PASSED` columns, and of ``extra`` ones (type by name) that the application added.

    Returns (id, eta, date_created) by uuid, of the jobs that were stored: those with a taken identity key are not.
    """
    cr.execute(_insert_statement(extra or {}), (json.dumps(rows, default=str),))
    return {row[0]: row[1:] for row in cr.fetchall()}


def lock_table(cr: Any) -> None:
    """Lock the table as every INSERT does."""
    cr.execute("lock table queuemaster.queue_job in row exclusive mode")


def queue_up(cr: Any, keys: Iterable[str]) -> None:
    """Wait for transactions that store jobs of these identities; all wait in the same order, so none deadlock."""
    cr.execute(
        "select pg_advisory_xact_lock(%s, number)"
        " from (select distinct hashtext(key) as number from unnest(%s::text[]) key order by 1) ordered",
        (locks.IDENTITY, list(keys)),
    )


def insert_edges(cr: Any, pairs: Iterable[Tuple[int, int]]) -> None:
    """Store (parent id, child id) pairs."""
    parents, children = zip(*pairs)
    cr.execute(EDGES, (list(parents), list(children)))


def added_columns(cr: Any) -> Dict[str, str]:
    """Columns that the application added to the table, with their types as a column definition names them."""
    cr.execute(ADDED_COLUMNS)
    return {name: kind for name, kind in cr.fetchall() if name not in CORE}


def by_uuid(cr: Any, uuids: Iterable[str]) -> Dict[str, Dict[str, Any]]:
    """Rows of :data:`COLUMNS` by uuid; jobs that do not exist are missing."""
    cr.execute(BY_UUID, (list(uuids),))
    return {row["uuid"]: row for row in rows_of(cr)}


def by_identity(cr: Any, keys: Iterable[str]) -> Dict[str, Dict[str, Any]]:
    """Rows by identity key, of the jobs that occupy their key."""
    cr.execute(BY_IDENTITY, (list(keys),))
    return {row["identity_key"]: row for row in rows_of(cr)}


def state(cr: Any, uuid: str) -> Optional[Tuple[str, bool]]:
    """A job's state, and whether this very transaction has written its row; None: no such job."""
    cr.execute(STATE, (uuid,))
    row = cr.fetchone()
    return None if row is None else (row[0], bool(row[1]))


def _insert_statement(extra: Mapping[str, str]) -> str:
    quoted = {'"' + name.replace('"', '""') + '"': kind for name, kind in extra.items()}
    passed = {**PASSED, **quoted}
    return (
        INSERT.format(
            targets=", ".join((*_TARGETS, *quoted)),
            sources=", ".join((*_SOURCES, *quoted)),
            passed=", ".join(f"{name} {kind}" for name, kind in passed.items()),
        )
        .replace("%", "%%")
        .replace("(%%s)", "(%s)")
    )


def rows_of(cr: Any) -> List[Dict[str, Any]]:
    """The rows of the last statement's answer as dicts."""
    names = [column[0] for column in cr.description]
    return [dict(zip(names, values)) for values in cr.fetchall()]
