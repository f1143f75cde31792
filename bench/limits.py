"""The time from the moment at which a job exceeds a limit to its end, by the limit and by what the job is doing."""

from __future__ import annotations

import argparse
import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from psycopg2.extensions import connection as Connection

from queuejobs import Environment

from . import common

TIMEOUT = 1.0  # seconds
CPU = 1.0  # seconds of processor time
MEMORY = 200 << 20  # bytes
KILL_GRACE = 1.0  # seconds


class Case(NamedTuple):
    """A limit, and what the job does to exceed it."""

    limit: str
    job: str


# "swallow" catches any exception, and under "interpreter lock" none can be raised: both jobs must be killed
CASES = (
    *(
        Case("timeout", job)
        for job in ("query", "sleep", "busy loop", "child", "interpreter lock", "swallow")
    ),
    *(Case("cpu", job) for job in ("busy loop", "child")),
    Case("memory", "allocate"),
)
_STARTED = """
select extract(epoch from date_started at time zone 'utc')::float from queuemaster.queue_job where uuid = %s
"""
_ENDED = """
select extract(epoch from clock_timestamp())::float from queuemaster.queue_job
 where uuid = %s and state = 'failed'
"""


def enqueue(bench: Any, case: Case, note: Path) -> Any:
    """Enqueue a job of a case. For a limit other than the timeout the job writes into ``note`` when it exceeds it."""
    if case.limit == "timeout":
        return bench.with_delay(timeout=TIMEOUT, max_retries=1).run_away(case.job)
    limit: float = {"cpu": CPU, "memory": MEMORY}[case.limit]
    limited = bench.with_delay(max_retries=1, **{case.limit: limit})
    return limited.use_up(case.job, limit, str(note))


def ended(connection: Connection, uuid: str, moments: list[float]) -> bool:
    """Whether the job has failed; the time at which that was seen is appended to ``moments``."""
    moment = common.value(connection, _ENDED, uuid)
    moments += [] if moment is None else [moment]
    return bool(moments)


def sample(dsn: str, case: Case, count: int) -> list[float]:
    """Milliseconds from exceeding the limit until the job is seen failed, a value for each job."""
    values = []
    with (
        common.connected(dsn) as connection,
        tempfile.TemporaryDirectory(prefix="queuemaster-bench-") as directory,
    ):
        bench = Environment(connection)["bench"]
        bench.browse(0).with_delay().noop().wait(timeout=common.PATIENCE)
        for number in range(1, count + 1):
            note = Path(directory, str(number))
            job = enqueue(bench.browse(number), case, note)
            moments: list[float] = []
            common.wait(partial(ended, connection, job.uuid, moments), 0.005)
            if case.limit == "timeout":
                exceeded = common.value(connection, _STARTED, job.uuid) + TIMEOUT
            else:
                exceeded = float(note.read_text())
            values.append((moments[0] - exceeded) * 1000)
    return values


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m bench.limits")
    parser.add_argument("--jobs", type=int, default=10, help="per case")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = []
    with common.durable_server() as server:
        about = {**common.machine(server), "jobs": options.jobs, "kill_grace": KILL_GRACE}
        for case in CASES:
            dsn = common.new_database(server)
            with common.supervisor(dsn, "root:1", "--set", f"kill_grace={KILL_GRACE}"):
                values = sample(dsn, case, options.jobs)
            middle, most = round(statistics.median(values)), round(max(values))
            rows.append({**case._asdict(), "median ms": middle, "max ms": most})
    common.tell("limits", about, rows, options.json)


if __name__ == "__main__":
    main()
