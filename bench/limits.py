"""From the moment at which a job is over its limit to its end, by what it is doing."""

from __future__ import annotations

import argparse
import statistics

from queuejobs import Environment

from . import common

LIMIT, KILL_GRACE = 1.0, 1.0  # seconds
# what the job does; "swallow" catches whatever is raised in it, so it is killed after kill_grace
WAYS = ("query", "sleep", "busy loop", "swallow")
_STARTED = "select extract(epoch from date_started)::float from queuemaster.queue_job where uuid = %s"
_ENDED = """
select extract(epoch from clock_timestamp())::float from queuemaster.queue_job
 where uuid = %s and state = 'failed'
"""


def sample(dsn: str, how: str, count: int) -> list[float]:
    """Milliseconds from the limit to the row that says failed, one a job."""
    found = []
    with common.connected(dsn) as connection:
        bench = Environment(connection)["bench"]
        bench.browse(0).with_delay().noop().wait(timeout=common.PATIENCE)
        for number in range(1, count + 1):
            job = bench.browse(number).with_delay(timeout=LIMIT, max_retries=1).run_away(how)
            ended: list[float] = []

            def over(uuid: str = job.uuid, ended: list[float] = ended) -> bool:
                moment = common.value(connection, _ENDED, uuid)
                ended += [] if moment is None else [moment]
                return bool(ended)

            common.wait(over, 0.005)
            started = common.value(connection, _STARTED, job.uuid)
            found.append((ended[0] - started - LIMIT) * 1000)
    return found


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m bench.limits")
    parser.add_argument("--jobs", type=int, default=10, help="per case")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = []
    with common.durable_server() as server:
        about = {**common.machine(server), "jobs": options.jobs, "limit": LIMIT, "kill_grace": KILL_GRACE}
        for how in WAYS:
            dsn = common.new_database(server)
            with common.supervisor(dsn, "root:1", "--set", f"kill_grace={KILL_GRACE}"):
                values = sample(dsn, how, options.jobs)
            middle, most = round(statistics.median(values)), round(max(values))
            rows.append({"job": how, "median ms": middle, "max ms": most})
    common.tell("limits", about, rows, options.json)


if __name__ == "__main__":
    main()
