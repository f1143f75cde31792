"""How the time of a job on the direct path divides into steps: a worker's runtime in Odoo's interpreter, timed.

``bench.beside_odoo --where`` calls it with Odoo's own Python. The arguments are the path of odoo.conf, Odoo's
directory, a DSN, and the number of jobs.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from typing import Any

import psycopg2

from queuejobs.retry import RetrySettings
from queuejobs.shared.messages import Grant
from queuejobs.shared.scoreboard import Scoreboard
from queuejobs.shared.work_counts import RunOutcome
from queuejobs.store import oca
from queuejobs.worker import session
from queuejobs.worker.interrupt import Interrupter
from queuejobs.worker.runtimes.grant_use import GrantUse
from queuejobs.worker.runtimes.odoo import process
from queuejobs.worker.runtimes.odoo.runtime import OdooRuntime
from queuejobs.worker.settings import ChannelSettings, Database, WorkerSettings

_STEPS = {
    "queuemaster_claim": "claim: the row is started (asynchronous commit)",
    "queuemaster.begin_run(": "begin, is the run still ours, the addon's lock",
    "queuemaster.finish(": "done is written",
    "commit": "commit (durable)",
    "__init__": "Odoo's cursor: its pool resets the connection",
    "close": "the cursor given back",
}
_REST = "Python: environment, decoding, the call, flush"
_spent: Counter[str] = Counter()


def watch(kind: Any, name: str) -> None:
    """Replace a method by one that adds the time of its calls to the step that they belong to."""
    original = getattr(kind, name)

    def timed(self: Any, *arguments: Any, **options: Any) -> Any:
        began = time.perf_counter()
        try:
            return original(self, *arguments, **options)
        finally:
            text = str(arguments[0]) if name == "execute" else name
            step = next((step for part, step in _STEPS.items() if part in text), "other statements")
            _spent[step] += time.perf_counter() - began  # type: ignore[assignment]

    setattr(kind, name, timed)


class NoOrders:
    """Nothing ends a grant early."""

    def draining(self) -> bool:
        """Never."""
        return False

    def called_off(self) -> bool:
        """Never."""
        return False

    def worn_out(self, jobs_run: int) -> bool:
        """Never."""
        return False

    def claimed(self, job: int) -> None:
        """Of no interest."""


def settings(conf: str, path: str, dsn: str, name: str) -> WorkerSettings:
    """A worker's settings with one database, one channel and no limits."""
    channel = ChannelSettings(RetrySettings(), 0, 0, 0, 0, 0, 0, 0)
    return WorkerSettings(
        databases=(Database(name, dsn, 0),), app=(), odoo=conf, odoo_path=path, direct=True,
        channels={"root": channel}, graceful_timeout=5, unknown_model_grace=5,
        logfile="", log_level="WARNING", log_format="text", log_handlers=(),
    )  # fmt: skip


def main() -> None:
    """Entry point."""
    conf, path, dsn, count = *sys.argv[1:4], int(sys.argv[4])
    connection = psycopg2.connect(dsn)
    oca.install(connection)
    connection.autocommit = True
    cursor = connection.cursor()
    worker_settings = settings(conf, path, dsn, connection.info.dbname)
    process.preload(conf, path, worker_settings.databases)
    with process.registry(connection.info.dbname).cursor() as odoo:
        env = process.environment(odoo)
        for _ in range(count + 20):
            env["queuemaster.effect"].with_delay().noop()
    cursor.execute("vacuum analyze queue_job")
    cursor.execute("select epoch from queuemaster.leader")
    (epoch,) = cursor.fetchone() or (0,)
    grant = Grant(1, 0, epoch, "root", None, None, 1, None)
    entry = Scoreboard.create().entry(0)
    entry.reserve(1, 0)
    runtime = OdooRuntime(worker_settings, entry, Interrupter(entry), "root")
    for number in range(count + 20):
        if number == 20:  # by now sessions are open and caches are filled
            for name in ("execute", "commit", "close", "__init__"):
                watch(process.module("odoo.sql_db").Cursor, name)
            watch(session.JobCursor, "execute")
            began = time.perf_counter()
        if runtime.run(GrantUse(grant, NoOrders())) is not RunOutcome.DONE:
            raise RuntimeError("a job was not done")
    total = time.perf_counter() - began
    steps = {**_spent, _REST: total - sum(_spent.values())}
    rows = [
        {"step": step, "ms": seconds / count * 1000, "share": seconds / total}
        for step, seconds in steps.items()
    ]
    print(json.dumps(sorted(rows, key=lambda row: -row["ms"])))


if __name__ == "__main__":
    main()
