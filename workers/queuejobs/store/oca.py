"""The queue of Odoo's addon ``queue_job``: our schema beside it, made of what the database has.

The schema offers the native queue's interface (views and functions of the same names) over the addon's table, so that
everything above it stays one. It is made on first use and anew whenever the addon's columns or this text changed.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from string import Template
from typing import Any, Dict, List, NamedTuple, Tuple

from . import locks
from .schema import DIRECTORY as NATIVE

DIRECTORY = Path(__file__).with_name("oca_schema")
STOCK_LEADER = 2293787760715711918  # the one-int key that the addon's own runner leads by
TRIGGER = "queue_job_notify"

# What the claim and the dispatcher read in order; made by ``init --indexes`` only.
INDEXES: Dict[str, str] = {
    "queuemaster_ready": "(channel, priority, date_created, id) where state = 'pending' and eta is null",
    "queuemaster_eta": "(eta) where state = 'pending' and eta is not null",
    "queuemaster_eta_order": "(channel, priority, date_created, id) where state = 'pending' and eta is not null",
    "queuemaster_failed": "(channel) where state = 'failed'",
}

_TABLES = ("worker", "leader", "control")
_FUNCTIONS = (
    "utc_now", "key_time", "appended", "register_worker", "lead", "depose", "notify_control",
)  # fmt: skip


class Features(NamedTuple):
    """What differs between the addon's versions, as this database shows it."""

    lock_table: bool  # queue_job_lock: a row locked while its job runs
    signals: Tuple[str, ...]  # tables and sequences by which Odoo's processes tell each other what changed


class Installed(NamedTuple):
    """Whether a database is one that we can serve. ``problem`` is empty when it is."""

    problem: str
    busy: str  # modules on their way in or out: jobs must wait


def look(cursor: Any) -> Installed:
    """What the database says about the addon."""
    cursor.execute("select to_regclass('public.ir_module_module') is null")
    if cursor.fetchone()[0]:
        return Installed("it is no database of Odoo", "")
    cursor.execute(
        "select coalesce(bool_or(name = 'queue_job' and state in ('installed', 'to upgrade', 'to remove')), false),"
        " string_agg(name || ' ' || state, ', ' order by name)"
        " filter (where state in ('to install', 'to upgrade', 'to remove'))"
        " from public.ir_module_module"
    )
    installed, busy = cursor.fetchone()
    if not installed:
        return Installed("the addon queue_job is not installed in it", "")
    cursor.execute("select to_regclass('public.queue_job') is null")
    if cursor.fetchone()[0]:
        return Installed("the addon queue_job has no table in it", "")
    cursor.execute(
        "select count(*) from information_schema.triggers"
        " where event_object_table = 'queue_job' and trigger_name = %s",
        (TRIGGER,),
    )
    if cursor.fetchone()[0] != 3:  # insert, update, delete
        return Installed("", f"the addon's trigger {TRIGGER} is missing: reinstall queue_job, or restore it")
    return Installed("", busy or "")


def registry_signal(cursor: Any) -> int:
    """A number that Odoo raises whenever modules or fields changed; 0 where it has none."""
    cursor.execute(
        "select to_regclass('public.orm_signaling_registry') is not null,"
        " to_regclass('public.base_registry_signaling') is not null"
    )
    table, sequence = cursor.fetchone()
    if table:
        cursor.execute("select coalesce(max(id), 0) from public.orm_signaling_registry")
    elif sequence:
        cursor.execute("select last_value from public.base_registry_signaling")
    else:
        return 0
    return int(cursor.fetchone()[0])


def install(connection: Any) -> bool:
    """Make our schema what this program needs; whether anything was changed.

    ``connection`` is outside a transaction; everything is one. The tables keep their rows.
    """
    with connection, connection.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(%s, 0)", (locks.SCHEMA,))
        sql = statements(features(cursor))
        checksum = hashlib.sha256(sql.encode()).hexdigest()
        if _installed(cursor) == checksum and _views_stand(cursor):
            return False
        cursor.execute("create schema if not exists queuemaster")
        cursor.execute("set local search_path = queuemaster")
        cursor.execute(_DROP)
        cursor.execute(sql)
        cursor.execute(
            "create table if not exists beside_odoo (only_row boolean primary key default true, checksum text);"
            " insert into beside_odoo (checksum) values (%s)"
            " on conflict (only_row) do update set checksum = excluded.checksum",
            (checksum,),
        )
    return True


def is_installed(cursor: Any) -> bool:
    """Whether our schema stands beside the addon's table."""
    return _installed(cursor) is not None


def uninstall(connection: Any) -> bool:
    """Remove our schema and our indexes; whether there was anything. The addon's rows stay as they are."""
    with connection, connection.cursor() as cursor:
        there = is_installed(cursor)
        if there:
            cursor.execute("drop schema queuemaster cascade")
        for name in missing_or_present(cursor, present=True):
            cursor.execute(f"drop index public.{name}")
            there = True
    return there


def missing_or_present(cursor: Any, present: bool = False) -> List[str]:
    """The names of our indexes that the database lacks, or has and can use."""
    cursor.execute(
        "select class.relname from pg_index join pg_class class on class.oid = indexrelid"
        " where class.relnamespace = 'public'::regnamespace and class.relname = any(%s) and indisvalid",
        (list(INDEXES),),
    )
    there = {row[0] for row in cursor.fetchall()}
    return [name for name in INDEXES if (name in there) == present]


def features(cursor: Any) -> Features:
    """Read from the catalogue, never guessed from a version."""
    cursor.execute("select to_regclass('public.queue_job_lock') is not null")
    lock_table = cursor.fetchone()[0]
    cursor.execute(_SIGNALS)
    return Features(lock_table, tuple(row[0] for row in cursor.fetchall()))


def statements(found: Features) -> str:
    """The whole schema as one text."""
    words = {
        "features": f"Features: {found}.",
        "signals": ", ".join(["''", *(f"({look})" for look in found.signals)]),
        **(_WITH_LOCK if found.lock_table else _WITHOUT_LOCK),
    }
    own = {path.stem: path.read_text(encoding="utf-8") for path in sorted(DIRECTORY.glob("*.sql"))}
    tables, views, functions, retention = (
        Template(own[name]) for name in ("1_tables", "2_views", "3_functions", "4_retention")
    )
    return "\n".join(
        [
            _native_tables(),
            tables.template,
            _native_functions(),
            views.substitute(words),
            functions.substitute(words),
            retention.substitute(words),
        ]
    )


# From 19 on tables of which only the last row matters, before that sequences.
_SIGNALS = r"""
select case relkind when 'S' then format('select last_value from public.%I', relname)
                    else format('select max(id) from public.%I', relname) end
  from pg_class where relnamespace = 'public'::regnamespace
   and (relkind = 'r' and relname like 'orm\_signaling\_%'
        or relkind = 'S' and (relname = 'base_registry_signaling' or relname like 'base\_cache\_signaling%'))
 order by relname
"""

# A doomed job is started by nobody; a row that Odoo's own worker holds locked is being run.
_WITH_LOCK = {
    "lock_insert": """if p_start then
        insert into public.queue_job_lock (id, queue_job_id) values (v_id, v_id) on conflict (id) do nothing;
    end if;""",
    "lock_row": """perform from public.queue_job_lock where queue_job_id = p_id for no key update skip locked;
    if not found then
        return false;
    end if;""",
    "stray": "state in ('enqueued', 'started')",
    "stray_locked": """if exists (select from public.queue_job_lock where queue_job_id = v_row.id) then
            perform from public.queue_job_lock where queue_job_id = v_row.id for no key update skip locked;
            if not found then
                continue;
            end if;
        end if;""",
}
# Without that table nobody can tell whether Odoo's own worker still runs a started job.
_WITHOUT_LOCK = {
    "lock_insert": "",
    "lock_row": "",
    "stray": "state = 'enqueued'",
    "stray_locked": "",
}

# Functions and views go, whatever they were; the tables stay, with their rows.
_DROP = """
do $$ declare v_it text; begin
    for v_it in select oid::regprocedure from pg_proc where pronamespace = 'queuemaster'::regnamespace loop
        execute 'drop function ' || v_it || ' cascade';
    end loop;
end $$;
drop view if exists queue_job_edge, queue_job;
drop type if exists claimed;
"""


def _installed(cursor: Any) -> Any:
    cursor.execute("select to_regclass('queuemaster.beside_odoo') is null")
    if cursor.fetchone()[0]:
        return None
    cursor.execute("select checksum from queuemaster.beside_odoo")
    return cursor.fetchone()[0]


def _views_stand(cursor: Any) -> bool:
    """Odoo drops views on a column whose type it changes."""
    cursor.execute(
        "select to_regclass('queuemaster.queue_job') is not null"
        " and to_regclass('queuemaster.queue_job_edge') is not null"
    )
    return bool(cursor.fetchone()[0])


def _native_tables() -> str:
    """The tables that are the native queue's, from its own text."""
    text = _native_text()
    made = [_found(rf"^create table {name} \(.*?^\)[^;]*;", text) for name in _TABLES]
    created = "\n".join(made).replace("create table ", "create table if not exists ")
    return f"{created}\ninsert into leader default values on conflict do nothing;\n"


def _native_functions() -> str:
    text = _native_text()
    made = [_found(rf"^create function {name}\(.*?\$\$.*?\$\$[^;]*;", text) for name in _FUNCTIONS]
    return "\n".join([*made, _found(r"^create trigger notify_control.*?;", text), ""])


def _native_text() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(NATIVE.glob("*.sql")))


def _found(pattern: str, text: str) -> str:
    """The last definition: a later step may have replaced it."""
    return re.findall(pattern, text, re.MULTILINE | re.DOTALL)[-1]  # type: ignore[no-any-return]
