"""The time from the SIGKILL of a worker to the next start of the job that it ran."""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import time

from queuejobs import Environment

from . import common

_RUN = "select worker_pid from queuemaster.queue_job where uuid = %s and state = 'started' and attempt = 1"
_AGAIN = """
select extract(epoch from date_started)::float from queuemaster.queue_job
 where uuid = %s and attempt > 1 and state = 'done'
"""
# by name: the number of workers, and whether the job is in a query
CASES = {
    "in Python, another worker idle": (2, False),
    "in Python, a new one must be forked": (1, False),
    "in a query, another worker idle": (2, True),
}


def sample(dsn: str, count: int, in_query: bool) -> list[float]:
    """Milliseconds, a value for each kill."""
    values = []
    with common.connected(dsn) as connection:
        bench = Environment(connection)["bench"]
        # a job that gets done first: back-off would delay the successor of a worker that dies before any useful work
        warm = bench.browse(0).with_delay().noop()
        warm.wait(timeout=common.PATIENCE)
        for number in range(1, count + 1):
            job = bench.browse(number).with_delay().hold(common.PATIENCE, in_query)
            common.wait(lambda uuid=job.uuid: common.value(connection, _RUN, uuid) is not None, 0.005)  # type: ignore[misc]
            time.sleep(0.05)  # well into the job
            pid = common.value(connection, _RUN, job.uuid)
            killed = time.time()
            os.kill(pid, signal.SIGKILL)
            common.wait(lambda uuid=job.uuid: common.value(connection, _AGAIN, uuid) is not None, 0.005)  # type: ignore[misc]
            values.append((common.value(connection, _AGAIN, job.uuid) - killed) * 1000)
    return values


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m bench.recovery")
    parser.add_argument("--kills", type=int, default=10, help="per case")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = []
    with common.durable_server() as server:
        about = {**common.machine(server), "kills": options.kills}
        for name, (workers, in_query) in CASES.items():
            dsn = common.new_database(server)
            with common.supervisor(dsn, f"root:{workers}"):
                values = sample(dsn, options.kills, in_query)
            rows.append(
                {
                    "killed": name,
                    "median ms": round(statistics.median(values), 1),
                    "max ms": round(max(values), 1),
                }
            )
    common.tell("recovery", about, rows, options.json)


if __name__ == "__main__":
    main()
