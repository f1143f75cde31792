"""The state of one of Odoo's databases: the addon, its table, our indexes, the leader. Nothing is altered."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import psycopg2

from queuejobs.store import oca
from queuejobs.store.connection import connect
from queuemaster.cli.databases import server_message
from queuemaster.cli.statements import (
    ARE_JOBS_UNDER_WAY,
    ESTIMATED_ROWS,
    HAS_CHANNEL_FORMS,
    INVALID_INDEXES,
    LEADING_PROGRAM,
    LIMITED_FORMS,
)
from queuemaster.config.compiled import DatabaseConfig

PATIENCE = 3  # seconds
FEW = 10_000  # rows: a scan of a smaller table goes unnoticed


@dataclass(frozen=True)
class OdooFacts:
    """The state of a database; ``problem``: why it is not served, "" when it is."""

    problem: str
    busy: str = ""  # why its jobs wait, "" when they do not
    rows: int = 0  # estimated number of jobs
    lock_table: bool = True  # the addon of 16 and newer has it; the older stock runner takes no lock at all
    missing: tuple[str, ...] = ()  # our indexes that do not exist
    broken: tuple[str, ...] = ()  # our indexes that are not valid
    leader: str = ""  # "queuemaster", "the stock runner", "": none, or one that takes no lock
    at_work: bool = False  # jobs are enqueued or run
    forms: tuple[str, ...] = ()  # channels whose form has limits, which we do not read

    def document(self) -> dict[str, Any]:
        """The facts, for ``check --json``."""
        return asdict(self)

    def summary(self) -> str:
        """The facts in one line."""
        if self.problem:
            return f"not served: {self.problem}"
        state = f"waits: {self.busy}" if self.busy else "ready"
        leader = f"{self.leader} leads" if self.leader else "nobody leads"
        return f"{state}, about {self.rows:,} jobs, {leader}"

    def warnings(self, name: str, channels_given: bool) -> list[str]:
        """Advice. ``channels_given``: channels are configured, so the addon's runner ignores its forms too."""
        warnings = []
        if self.broken:
            warnings.append(
                f"database {name}: indexes that were never finished ({', '.join(self.broken)}) slow down every"
                " write: queuemaster init --indexes makes them anew"
            )
        elif self.missing and self.rows >= FEW:
            warnings.append(
                f"database {name}: {len(self.missing)} of our {len(oca.INDEXES)} indexes are missing, on about"
                f" {self.rows:,} jobs, so that finding the next one reads many: queuemaster init --indexes makes them,"
                " while jobs go on"
            )
        if self.forms and not channels_given:
            warnings.append(
                f"database {name}: limits in the forms of channels are not read ({', '.join(self.forms)}): put them"
                " into the option channels, or change them live with queuemaster channel"
            )
        if not self.problem and not self.lock_table:
            warnings.append(
                f"database {name}: its addon (14 or 15) takes no lock that keeps a second runner off; switch the stock"
                " runner off before this one runs: ODOO_QUEUE_JOB_CHANNELS=root:0 in the environment of Odoo's service"
                + (" (jobs are under way just now: it may still be on)" if self._may_run_elsewhere() else "")
            )
        return warnings

    def _may_run_elsewhere(self) -> bool:
        return self.at_work and self.leader != "queuemaster"


def facts_of(database: DatabaseConfig) -> OdooFacts:
    """Read the facts; a database that does not answer within seconds has that as its problem."""
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
    addon = oca.look(cursor)
    if addon.problem:
        return OdooFacts(addon.problem)
    cursor.execute(LEADING_PROGRAM)
    row = cursor.fetchone()
    leader = ""
    if row is not None:
        leader = "queuemaster" if row[0].startswith("queuemaster") else "the stock runner"
    cursor.execute(ARE_JOBS_UNDER_WAY)
    at_work = bool(cursor.fetchone()[0])
    lock_table = oca.features(cursor).lock_table
    missing = tuple(oca.missing_or_present(cursor))
    return OdooFacts(
        "", addon.busy, estimated_rows(cursor), lock_table, missing, tuple(invalid_indexes(cursor)), leader, at_work,
        _limited_forms(cursor),
    )  # fmt: skip


def _limited_forms(cursor: Any) -> tuple[str, ...]:
    cursor.execute(HAS_CHANNEL_FORMS)
    if not cursor.fetchone()[0]:
        return ()
    cursor.execute(LIMITED_FORMS)
    return tuple(name for (name,) in cursor.fetchall())


def estimated_rows(cursor: Any) -> int:
    """About how many jobs the table has."""
    cursor.execute(ESTIMATED_ROWS)
    rows: int = cursor.fetchone()[0]
    return rows


def invalid_indexes(cursor: Any) -> list[str]:
    """The names of our indexes that were never finished."""
    cursor.execute(INVALID_INDEXES, (list(oca.INDEXES),))
    return [name for (name,) in cursor.fetchall()]
