"""How a running supervisor stands: one document out of its status board, its scoreboard, and the databases.

Times are seconds. What is not known (yet) is null.
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
from queuemaster.cli.supervisor import Supervisor
from queuemaster.config.compiled import DatabaseConfig
from queuemaster.status_board import DispatcherStatus, MasterStatus, WorkerStatus

PATIENCE = 2  # seconds, for a database that is only asked for the names of jobs
AGAIN = 15.0  # then it is asked again
SILENT = 5.0  # seconds after which a writer of the board is said to be silent

_JOBS = "select id, uuid, model_name || '.' || method_name from queuemaster.queue_job where id = any(%s)"

Run = tuple[int, int]  # the number of a database, the id of a job
Name = tuple[str, str]  # uuid and call


def standing(
    supervisor: Supervisor, names_of: Callable[[Iterable[Run]], Mapping[Run, Name]]
) -> dict[str, Any]:
    """The document of ``queuemaster status --json``."""
    master, dispatcher = supervisor.board.master.read(), supervisor.board.dispatcher.read()
    databases = {database.id: database.name for database in supervisor.settings.databases}
    workers = [] if master is None else _workers(master["workers"], supervisor.scoreboard)
    names = names_of([(each["job"]["database"], each["job"]["id"]) for each in workers if each["job"]])
    for worker in workers:
        if worker["job"]:
            _name(worker["job"], databases, names)
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
        "silent": {who: age for who, age in silent.items() if SILENT < age < float("inf")},
    }


def _databases(names: Iterable[str], dispatcher: DispatcherStatus | None) -> dict[str, Any]:
    said = {} if dispatcher is None else dispatcher["databases"]
    return {name: said.get(name) for name in [*names, *(name for name in said if name not in names)]}


def _channels(
    master: MasterStatus | None, dispatcher: DispatcherStatus | None, workers: list[dict[str, Any]]
) -> dict[str, Any]:
    """Each channel: its slots, by the dispatcher, and its pool, by the master."""
    slots = {} if dispatcher is None else dispatcher["channels"]
    pools = {} if master is None else master["pools"]
    restarts = {} if master is None else master["restarts"]
    counts = Counter((worker["channel"], worker["state"]) for worker in workers)
    found = {}
    for name in [*slots, *(name for name in pools if name not in slots)]:
        of_slots, of_pool = slots.get(name), pools.get(name)
        found[name] = {
            **{
                key: of_slots[key] if of_slots else None
                for key in ("capacity", "effective", "in_use", "paused")
            },
            "workers": {
                "target": of_pool["target"] if of_pool else 0,
                "alive": of_pool["alive"] if of_pool else 0,
                "busy": counts[name, "busy"],
                "idle": counts[name, "idle"],
                "backoff": of_pool["backoff_seconds"] if of_pool else 0.0,
                "restarts": restarts.get(name, {}),
            },
        }
    return found


def _workers(listed: Iterable[WorkerStatus], scoreboard: Scoreboard) -> list[dict[str, Any]]:
    """What each is doing: its own entry of the scoreboard says, once it has greeted the master."""
    workers = []
    for known in listed:
        worker: dict[str, Any] = {"pid": known["pid"], "channel": known["channel"], "state": known["state"]}
        worker.update(since=None, job=None)
        last = scoreboard.entry(known["entry"]).snapshot() if known["state"] == "greeted" else None
        if last is not None and last.generation == known["generation"]:
            worker["state"] = last.state.name.lower()
            worker["since"] = max((time.monotonic_ns() - last.since) / 1e9, 0.0)
            if last.job:
                worker["job"] = {"database": last.database, "id": last.job, "attempt": last.attempt}
        workers.append(worker)
    return workers


def _name(job: dict[str, Any], databases: Mapping[int, str], names: Mapping[Run, Name]) -> None:
    """Numbers become names, as far as they are known."""
    number = job["database"]
    uuid, call = names.get((number, job["id"]), (None, None))
    job.update(database=databases.get(number), uuid=uuid, call=call)


class Names:
    """The uuids and calls of running jobs, asked once each. A database that is away keeps nobody waiting for long."""

    def __init__(self, databases: Iterable[DatabaseConfig]) -> None:
        self.serve(databases)
        self._connections: dict[int, Connection] = {}
        self._away: dict[int, float] = {}  # until when it is not asked
        self._known: dict[Run, Name] = {}

    def serve(self, databases: Iterable[DatabaseConfig]) -> None:
        """These from now on."""
        self._databases = {database.id: database for database in databases}

    def of(self, runs: Iterable[Run]) -> Mapping[Run, Name]:
        """Those that are known or can be asked."""
        wanted = set(runs)
        self._known = {run: name for run, name in self._known.items() if run in wanted}
        for number in {number for number, _ in wanted - set(self._known)} & set(self._databases):
            if self._away.get(number, 0.0) <= time.monotonic():
                self._ask(number, [job for database, job in wanted if database == number])
        return self._known

    def close(self) -> None:
        """Leave the databases."""
        for connection in self._connections.values():
            connection.close()

    def _ask(self, number: int, jobs: list[int]) -> None:
        try:
            connection = self._connections.get(number) or self._open(number)
            with connection.cursor() as cursor:
                cursor.execute(_JOBS, (jobs,))
                self._known.update({(number, job): (uuid, call) for job, uuid, call in cursor.fetchall()})
        except psycopg2.Error:  # its jobs are shown by their numbers
            self._away[number] = time.monotonic() + AGAIN
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
