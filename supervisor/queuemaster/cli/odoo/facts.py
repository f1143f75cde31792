"""What a database of Odoo's says of itself: the addon, its table, our indexes, who leads. Nothing is altered."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import psycopg2

from queuejobs.store import oca
from queuejobs.store.connection import connect
from queuemaster.cli.databases import server_message
from queuemaster.config.compiled import DatabaseConfig

PATIENCE = 3  # seconds
FEW = 10_000  # rows: below that a scan of the whole table is nothing that anybody notices

# An index that CREATE INDEX CONCURRENTLY left when it was broken off: nobody uses it, everybody pays for it.
_BROKEN = """
select class.relname from pg_index join pg_class class on class.oid = indexrelid
 where indrelid = to_regclass('public.queue_job') and class.relname = any(%s) and not indisvalid
"""
# An estimate, of VACUUM and ANALYZE; where neither has been there yet it comes from the size of the file.
_SIZE = """
select case when reltuples >= 0 then reltuples else pg_relation_size(oid) / 500 end::bigint
  from pg_class where oid = 'public.queue_job'::regclass
"""
_LEADER = f"""
select coalesce(application_name, '') from pg_locks join pg_stat_activity using (pid)
 where locktype = 'advisory' and granted and objsubid = 1
   and (classid::bigint << 32 | objid::bigint) = {oca.STOCK_LEADER}
   and pg_locks.database = (select oid from pg_database where datname = current_database())
"""
# Limits entered in the forms of channels, as newer addons have them.
_HAS_FORMS = """
select count(*) = 2 from information_schema.columns
 where table_schema = 'public' and table_name = 'queue_job_channel' and column_name in ('capacity', 'paused')
"""
_FORMS = """
select complete_name from public.queue_job_channel where capacity > 0 or sequential or throttle > 0 or paused
 order by complete_name
"""
# Rows on their way to Odoo's workers that none of ours has sent there.
_SENT = "select exists (select from public.queue_job where state in ('enqueued', 'started'))"


@dataclass(frozen=True)
class OdooFacts:
    """How a database stands; ``problem``: why it is not served at all, "" when it is."""

    problem: str
    busy: str = ""  # why its jobs wait
    rows: int = 0  # jobs, about
    lock_table: bool = True  # 16 and newer; without it the stock runner takes no lock either
    missing: tuple[str, ...] = ()  # of our indexes
    broken: tuple[str, ...] = ()
    leader: str = ""  # "queuemaster", "the stock runner", "": nobody, or nobody can tell
    at_work: bool = False  # jobs are on their way or run
    forms: tuple[str, ...] = ()  # channels whose form has limits, which we do not read

    def document(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)

    def says(self) -> str:
        """In words."""
        if self.problem:
            return f"not served: {self.problem}"
        said = [f"waits: {self.busy}" if self.busy else "ready", f"about {self.rows:,} jobs"]
        said.append(f"{self.leader} leads" if self.leader else "nobody leads")
        return ", ".join(said)

    def warnings(self, name: str, channels_given: bool) -> list[str]:
        """What should be done. ``channels_given``: then the addon's runner does not look at its forms either."""
        found = []
        if self.broken:
            found.append(
                f"database {name}: indexes that were never finished ({', '.join(self.broken)}) cost every write:"
                " queuemaster init --indexes makes them anew"
            )
        elif self.missing and self.rows >= FEW:
            found.append(
                f"database {name}: {len(self.missing)} of our {len(oca.INDEXES)} indexes are missing, on about"
                f" {self.rows:,} jobs, so that finding the next one reads many: queuemaster init --indexes makes them,"
                " while jobs go on"
            )
        if self.forms and not channels_given:
            found.append(
                f"database {name}: limits in the forms of channels are not read ({', '.join(self.forms)}): put them"
                " into the option channels, or change them live with queuemaster channel"
            )
        if not self.problem and not self.lock_table:
            found.append(
                f"database {name}: its addon (14 or 15) takes no lock that keeps a second runner off; switch the stock"
                " runner off before this one runs: ODOO_QUEUE_JOB_CHANNELS=root:0 in the environment of Odoo's service"
                + (" (jobs are under way just now: it may still be on)" if self._other_runner() else "")
            )
        return found

    def _other_runner(self) -> bool:
        return self.at_work and self.leader != "queuemaster"


def look(database: DatabaseConfig) -> OdooFacts:
    """Ask it, for some seconds at most."""
    try:
        connection = connect(database.dsn, "queuemaster command", connect_timeout=PATIENCE)
    except psycopg2.Error as error:
        return OdooFacts(f"it cannot be reached: {server_message(error)}")
    try:
        connection.set_session(readonly=True)
        with connection, connection.cursor() as cursor:
            return read(cursor)
    except psycopg2.Error as error:
        return OdooFacts(server_message(error))
    finally:
        connection.close()


def read(cursor: Any) -> OdooFacts:
    """The facts, in a transaction of the caller's."""
    found = oca.look(cursor)
    if found.problem:
        return OdooFacts(found.problem)
    cursor.execute(_LEADER)
    holder = cursor.fetchone()
    leader = ""
    if holder is not None:
        leader = "queuemaster" if holder[0].startswith("queuemaster") else "the stock runner"
    cursor.execute(_SENT)
    at_work = bool(cursor.fetchone()[0])
    lock_table = oca.features(cursor).lock_table
    missing = tuple(oca.missing_or_present(cursor))
    return OdooFacts(
        "", found.busy, size(cursor), lock_table, missing, tuple(broken(cursor)), leader, at_work, _forms(cursor)
    )  # fmt: skip


def _forms(cursor: Any) -> tuple[str, ...]:
    cursor.execute(_HAS_FORMS)
    if not cursor.fetchone()[0]:
        return ()
    cursor.execute(_FORMS)
    return tuple(name for (name,) in cursor.fetchall())


def size(cursor: Any) -> int:
    """About how many jobs the table has."""
    cursor.execute(_SIZE)
    rows: int = cursor.fetchone()[0]
    return rows


def broken(cursor: Any) -> list[str]:
    """The names of our indexes that were never finished."""
    cursor.execute(_BROKEN, (list(oca.INDEXES),))
    return [name for (name,) in cursor.fetchall()]
