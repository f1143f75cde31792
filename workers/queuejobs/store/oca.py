"""The queue of Odoo's addon ``queue_job``: our schema beside it, made of what the database has.

The schema offers the native queue's interface (views and functions of the same names) over the addon's table, so that
everything above it is the same. It is made on first use, and made anew when the addon's columns or our text have
changed. A schema that a newer program made is left alone.
"""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from . import locks, schema_text
from .schema import SchemaError

# Of the schema beside the addon. A release that changes what schema/odoo or schema/shared make raises it.
VERSION = 1
STOCK_LEADER = 2293787760715711918  # the one-int key that the addon's own runner leads by
TRIGGER = "queue_job_notify"  # the addon's

# What the claim and the dispatcher read in order; made by ``init --indexes`` only.
INDEXES: Dict[str, str] = {
    "queuemaster_ready": "(channel, priority, date_created, id) where state = 'pending' and eta is null",
    "queuemaster_eta": "(eta) where state = 'pending' and eta is not null",
    "queuemaster_eta_order": "(channel, priority, date_created, id) where state = 'pending' and eta is not null",
    "queuemaster_failed": "(channel) where state = 'failed'",
}

# Queries for the signals: Odoo has them in sequences, from 19 on in tables of which only the last row matters.
_SIGNALS = r"""
select case relkind when 'S' then format('select last_value from public.%I', relname)
                    else format('select max(id) from public.%I', relname) end
  from pg_class where relnamespace = 'public'::regnamespace
   and (relkind = 'r' and relname like 'orm\_signaling\_%'
        or relkind = 'S' and (relname = 'base_registry_signaling' or relname like 'base\_cache\_signaling%'))
 order by relname
"""

# Functions and views are made anew; the tables stay, with their rows. Without CASCADE: a view that an operator made on
# top of ours is not ours to drop, and the error names it.
_DROP = """
drop view if exists queue_job_edge, queue_job;
do $$ declare v_function text; begin
    if to_regclass('control') is not null then
        drop trigger if exists notify_control on control;
    end if;
    for v_function in select oid::regprocedure from pg_proc where pronamespace = 'queuemaster'::regnamespace loop
        execute 'drop function ' || v_function;
    end loop;
end $$;
drop type if exists claimed;
"""

_RECORD = """
create table if not exists beside_odoo (only_row boolean primary key default true, checksum text);
alter table beside_odoo add column if not exists version integer not null default 0;
insert into beside_odoo (checksum, version) values (%(checksum)s, %(version)s)
    on conflict (only_row) do update set checksum = excluded.checksum, version = excluded.version
"""


class Features(NamedTuple):
    """What differs between the addon's versions, as this database shows it."""

    lock_table: bool  # queue_job_lock: a row locked while its job runs
    signals: Tuple[str, ...]  # tables and sequences by which Odoo's processes tell each other what changed


class Installed(NamedTuple):
    """Whether a database is one that we can serve. ``problem`` is empty when it is."""

    problem: str
    busy: str  # why jobs must wait: modules on their way in or out, or the addon's trigger is missing


class Installation(NamedTuple):
    """What our schema beside the addon's table was made of."""

    checksum: str
    version: int


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


def has_addon(cursor: Any) -> bool:
    """Whether the addon is installed, asked on a cursor of Odoo's."""
    cursor.execute("select to_regclass('ir_module_module') is not null")
    if not cursor.fetchone()[0]:
        return False
    cursor.execute("select true from ir_module_module where name = 'queue_job' and state = 'installed'")
    return cursor.fetchone() is not None


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
    """Make our schema what this program needs; true if anything was changed.

    ``connection`` is outside a transaction; all of it is done in one. The tables keep their rows. Raises
    :class:`~queuejobs.store.schema.SchemaError` when a newer program made it.
    """
    with connection, connection.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(%s, 0)", (locks.SCHEMA,))
        problem = newer(cursor)
        if problem:
            raise SchemaError(problem)
        sql = statements(features(cursor))
        wanted = Installation(schema_text.checksum(sql), VERSION)
        if _installed(cursor) == wanted and _views_stand(cursor):
            return False
        cursor.execute("create schema if not exists queuemaster")
        cursor.execute("set local search_path = queuemaster")
        cursor.execute(_DROP)
        cursor.execute(sql)
        cursor.execute(_RECORD, wanted._asdict())
    return True


def is_installed(cursor: Any) -> bool:
    """Whether our schema stands beside the addon's table."""
    return _installed(cursor) is not None


def newer(cursor: Any) -> str:
    """Why our schema beside the addon's table is not one for this program; empty when it is, or is not there yet."""
    installation = _installed(cursor)
    if installation is None or installation.version <= VERSION:
        return ""
    return (
        f"our schema in it (version {installation.version}) is newer than this program, which works with version"
        f" {VERSION}: upgrade queuemaster"
    )


def uninstall(connection: Any) -> bool:
    """Remove our schema and our indexes; true if there was anything. The addon's rows stay as they are."""
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
    """The features of this database, read from its catalogue, never guessed from a version."""
    cursor.execute("select to_regclass('public.queue_job_lock') is not null")
    lock_table = cursor.fetchone()[0]
    cursor.execute(_SIGNALS)
    return Features(lock_table, tuple(row[0] for row in cursor.fetchall()))


def statements(features: Features) -> str:
    """The whole schema as one text."""
    words = {
        "jobs": "public.queue_job",
        "signals": ", ".join(["''", *(f"({query})" for query in features.signals)]),
    }
    return schema_text.read(schema_text.ODOO, words, ["queue_job_lock"] if features.lock_table else [])


def _installed(cursor: Any) -> Optional[Installation]:
    cursor.execute("select to_regclass('queuemaster.beside_odoo') is null")
    if cursor.fetchone()[0]:
        return None
    # as JSON: before 0.1.0 there was no column version
    cursor.execute(
        "select checksum, coalesce((to_json(beside_odoo) ->> 'version')::integer, 0) from queuemaster.beside_odoo"
    )
    return Installation(*cursor.fetchone())


def _views_stand(cursor: Any) -> bool:
    """Whether our views are there: Odoo drops views on a column whose type it changes."""
    cursor.execute(
        "select to_regclass('queuemaster.queue_job') is not null"
        " and to_regclass('queuemaster.queue_job_edge') is not null"
    )
    return bool(cursor.fetchone()[0])
