"""Databases like those of Odoo 14 to 19 with the addon queue_job: tables, indexes and the trigger, without Odoo.

Tests on a real Odoo are in tests/odoo.
"""

from __future__ import annotations

import json
import uuid as uuids
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import connection as Connection

from queuejobs.store import oca
from queuemaster.config.compiled import ServerPlan
from support.postgres import connected, new_database
from support.rows import Session, WorkerSession

VERSIONS = (14, 15, 16, 17, 18, 19)

_TABLES = """
create table ir_module_module (id serial primary key, name varchar not null, state varchar);
insert into ir_module_module (name, state) values ('base', 'installed'), ('queue_job', 'installed');
create table queue_job_function (id serial primary key, name varchar);
create table queue_job (
    id serial primary key, uuid varchar not null, graph_uuid varchar, user_id integer, company_id integer, name varchar,
    model_name varchar, method_name varchar, records {json}, args {json}, kwargs {json}, dependencies text,
    func_string varchar, state varchar not null, priority integer, exc_name varchar, exc_message varchar, exc_info text,
    result text, date_created timestamp, date_enqueued timestamp, date_started timestamp, date_done timestamp,
    date_cancelled timestamp, exec_time double precision, eta timestamp, retry integer, max_retries integer,
    channel_method_name varchar, job_function_id integer references queue_job_function, channel varchar,
    identity_key varchar, worker_pid integer);
create index queue_job_uuid_index on queue_job (uuid);
create index queue_job_state_index on queue_job (state);
create index queue_job_channel_index on queue_job (channel);
create index queue_job_identity_key_state_partial_index on queue_job (identity_key)
    where state in ('pending', 'enqueued') and identity_key is not null;
create index queue_job_channel_date_done_date_created_index on queue_job (channel, date_done, date_created);
create function queue_job_notify() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        if old.state <> 'done' then
            perform pg_notify('queue_job', old.uuid);
        end if;
    else
        perform pg_notify('queue_job', new.uuid);
    end if;
    return null;
end $$;
create trigger queue_job_notify after insert or update or delete on queue_job
    for each row execute function queue_job_notify();
"""
_LOCK_TABLE = """
create table queue_job_lock (
    id serial primary key, queue_job_id integer not null references queue_job on delete cascade);
create index queue_job_lock_queue_job_id_index on queue_job_lock (queue_job_id);
"""
_SIGNAL_SEQUENCE = "create sequence base_registry_signaling increment by 1 start with 1"
_SIGNAL_TABLE = (
    "create table orm_signaling_registry (id serial primary key, date timestamp);"
    " insert into orm_signaling_registry (date) values (now())"
)


def create(connection: Connection, version: int) -> None:
    """Make the addon's tables as this version of Odoo has them."""
    with connection.cursor() as cursor:
        cursor.execute(_TABLES.format(json="jsonb" if version >= 18 else "text"))
        if version >= 16:
            cursor.execute(_LOCK_TABLE)
        cursor.execute(_SIGNAL_TABLE if version >= 19 else _SIGNAL_SEQUENCE)


@contextmanager
def new_oca_database(server: ServerPlan, version: int, install: bool = True) -> Iterator[str]:
    """The DSN of a database with the addon's tables, and our schema beside them."""
    with new_database(server) as dsn:
        with connected(dsn) as connection:
            create(connection, version)
            if install:
                connection.autocommit = False
                oca.install(connection)
        yield dsn


class OcaSession(Session):
    """A session that stores jobs as the addon does, and reads them through our views."""

    def add(self, state: str = "pending", **columns: Any) -> int:
        """Store one job; returns its id. ``arguments``: of the call, as JSON can hold them."""
        method = columns.get("method_name", "work")
        records = {"_type": "odoo_recordset", "model": "res.partner", "ids": [1], "uid": 1, "su": False}
        values: dict[str, Any] = {
            "uuid": str(uuids.uuid4()), "user_id": 1, "company_id": 1, "name": method, "model_name": "res.partner",
            "method_name": method, "records": json.dumps(records), "args": json.dumps(columns.pop("arguments", [])),
            "kwargs": "{}", "dependencies": json.dumps({"depends_on": [], "reverse_depends_on": []}),
            "func_string": f"res.partner(1,).{method}()", "state": state, "priority": 10, "retry": 0, "max_retries": 5,
            "channel_method_name": f"<res.partner>.{method}", "channel": "root", **columns,
        }  # fmt: skip
        if (
            self.value(
                "select pg_typeof(args)::text from public.queue_job right join (select 1) single on false"
            )
            == "jsonb"
        ):
            # the addon stores its JSON as one string
            for name in ("records", "args", "kwargs"):
                values[name] = json.dumps(values[name])
        if "date_created" not in values:
            values["date_created"] = self.value("select clock_timestamp() at time zone 'utc'")
        statement = sql.SQL("insert into public.queue_job ({}) values ({}) returning id").format(
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join(sql.Placeholder() * len(values)),
        )
        self.cursor.execute(statement, list(values.values()))
        return int(self.cursor.fetchall()[0][0])

    def uuid(self, job: int) -> str:
        return str(self.value("select uuid from public.queue_job where id = %s", job))

    def depend(self, child: int, *parents: int) -> None:
        """Let the child wait for the parents; as the addon does, write it into the JSON of both sides."""
        for job, key, other in [
            *((child, "depends_on", parent) for parent in parents),
            *((parent, "reverse_depends_on", child) for parent in parents),
        ]:
            dependencies = json.loads(
                self.value("select dependencies from public.queue_job where id = %s", job)
            )
            dependencies[key].append(self.uuid(other))
            self.rows(
                "update public.queue_job set dependencies = %s where id = %s", json.dumps(dependencies), job
            )
        self.rows("update public.queue_job set state = 'wait_dependencies' where id = %s", child)


class OcaWorkerSession(WorkerSession, OcaSession):
    """A session that is registered as a worker's."""
