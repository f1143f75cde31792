"""The status of a running supervisor: one document from its status board, its scoreboard, and the databases.

Times are seconds. A value that is not known (yet) is null.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection

from queuejobs.shared.scoreboard import Scoreboard
from queuejobs.store.connection import connect
from queuemaster.cli.statements import JOB_NAMES
from queuemaster.cli.supervisor import Supervisor
from queuemaster.config.compiled import DatabaseConfig
from queuemaster.status_board import DispatcherStatus, MasterStatus, WorkerStatus

PATIENCE = 2  # seconds, for a database that only gives jobs their names
RETRY_AFTER = 15.0  # seconds until a database that did not answer is asked again
SILENT_AFTER = 5.0  # seconds without a sign of life of a writer of the board

JobKey = tuple[int, int]  # the number of a database, the id of a job
JobName = tuple[str, str]  # uuid and call


def status_document(
    supervisor: Supervisor, names_of: Callable[[Iterable[JobKey]], Mapping[JobKey, JobName]]
) -> dict[str, Any]:
    """The document of ``queuemaster status --json``. ``names_of``: the names of jobs, where they are known."""
    master, dispatcher = supervisor.board.master.read(), supervisor.board.dispatcher.read()
    databases = {database.id: database.name for database in supervisor.settings.databases}
    workers = [] if master is None else _workers(master["workers"], supervisor.scoreboard)
    jobs = [worker["job"] for worker in workers if worker["job"]]
    names = names_of([(job["database"], job["id"]) for job in jobs])
    for job in jobs:
        key = (job["database"], job["id"])
        uuid, call = names.get(key, (None, None))
        job.update(database=databases.get(job["database"]), uuid=uuid, call=call)
    return {
        "running": True,
        "master": _master(supervisor, master),
        "processes": {} if master is None else master["children"],
        "databases": _databases(databases.values(), dispatcher),
        "channels": _channels(master, dispatcher, workers),
        "workers": workers,
    }


def _master(supervisor: Supervisor, master: MasterStatus | None) -> dict[str, Any]:
    silent = {"master": supervisor.board.master.age(), "dispatcher": supervisor.board.dispatcher.age()}
    return {
        "pid": supervisor.pid,
        "phase": "starting" if master is None else master["phase"],
        "version": None if master is None else master["version"],
        "since": None if master is None else max(time.time() - master["started"], 0.0),
        "silent": {role: age for role, age in silent.items() if SILENT_AFTER < age < float("inf")},
    }


def _databases(names: Iterable[str], dispatcher: DispatcherStatus | None) -> dict[str, Any]:
    """The status of each database, the configured ones first; null for one that the dispatcher does not know yet."""
    known = {} if dispatcher is None else dispatcher["databases"]
    return {name: known.get(name) for name in [*names, *(name for name in known if name not in names)]}


def _channels(
    master: MasterStatus | None, dispatcher: DispatcherStatus | None, workers: list[dict[str, Any]]
) -> dict[str, Any]:
    """The status of each channel: its slots come from the dispatcher, its pool from the master."""
    slots = {} if dispatcher is None else dispatcher["channels"]
    pools = {} if master is None else master["pools"]
    restarts = {} if master is None else master["restarts"]
    counts = Counter((worker["channel"], worker["state"]) for worker in workers)
    channels = {}
    for name in [*slots, *(name for name in pools if name not in slots)]:
        slot, pool = slots.get(name), pools.get(name)
        channels[name] = {
            "capacity": slot["capacity"] if slot else None,
            "effective": slot["effective"] if slot else None,
            "in_use": slot["in_use"] if slot else None,
            "paused": slot["paused"] if slot else None,
            "workers": {
                "target": pool["target"] if pool else 0,
                "alive": pool["alive"] if pool else 0,
                "busy": counts[name, "busy"],
                "idle": counts[name, "idle"],
                "backoff": pool["backoff_seconds"] if pool else 0.0,
                "restarts": restarts.get(name, {}),
            },
        }
    return channels


def _workers(listed: Iterable[WorkerStatus], scoreboard: Scoreboard) -> list[dict[str, Any]]:
    """The workers, with the state and the job from their scoreboard entries once they have greeted the master."""
    workers = []
    for known in listed:
        worker: dict[str, Any] = {"pid": known["pid"], "channel": known["channel"], "state": known["state"]}
        worker.update(since=None, job=None)
        entry = scoreboard.entry(known["entry"]).snapshot() if known["state"] == "greeted" else None
        # with another generation the entry is another worker's by now
        if entry is not None and entry.generation == known["generation"]:
            worker["state"] = entry.state.name.lower()
            worker["since"] = max((time.monotonic_ns() - entry.since) / 1e9, 0.0)
            if entry.job:
                worker["job"] = {"database": entry.database, "id": entry.job, "attempt": entry.attempt}
        workers.append(worker)
    return workers


class RunningJobNames:
    """The uuids and calls of running jobs, each read once. A database that does not answer is left out for a while."""

    def __init__(self, databases: Iterable[DatabaseConfig]) -> None:
        self.serve(databases)
        self._connections: dict[int, Connection] = {}
        self._away: dict[int, float] = {}  # databases that did not answer, and until when they are left out
        self._known: dict[JobKey, JobName] = {}

    def serve(self, databases: Iterable[DatabaseConfig]) -> None:
        """Read these databases from now on."""
        self._databases = {database.id: database for database in databases}

    def of(self, jobs: Iterable[JobKey]) -> Mapping[JobKey, JobName]:
        """The names of these jobs; one whose database does not answer is missing."""
        wanted = set(jobs)
        self._known = {job: name for job, name in self._known.items() if job in wanted}
        for number in {number for number, _ in wanted - set(self._known)} & set(self._databases):
            if self._away.get(number, 0.0) <= time.monotonic():
                self._read(number, [job for database, job in wanted if database == number])
        return self._known

    def close(self) -> None:
        """Close the sessions."""
        for connection in self._connections.values():
            connection.close()

    def _read(self, number: int, jobs: list[int]) -> None:
        try:
            connection = self._connections.get(number) or self._open(number)
            with connection.cursor() as cursor:
                cursor.execute(JOB_NAMES, (jobs,))
                self._known.update({(number, job): (uuid, call) for job, uuid, call in cursor.fetchall()})
        except psycopg2.Error:  # its jobs are shown with their ids
            self._away[number] = time.monotonic() + RETRY_AFTER
            if number in self._connections:
                self._connections.pop(number).close()

    def _open(self, number: int) -> Connection:
        dsn = self._databases[number].dsn
        connection = connect(dsn, "queuemaster status", connect_timeout=PATIENCE)
        self._connections[number] = connection
        connection.set_session(readonly=True, autocommit=True)
        with connection.cursor() as cursor:
            cursor.execute("set statement_timeout = %s", (PATIENCE * 1000,))
        return connection
