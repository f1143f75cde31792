"""The time from the commit that enqueues a job to its start and to its end, on an idle queue.

The clock starts just before COMMIT is sent, so the durable write of the commit is included. The end is the moment at
which another session, which polls without a pause, sees the job done.
"""

from __future__ import annotations

import argparse
import random
import time

from queuejobs import Environment

from . import common

_STARTED = "select extract(epoch from date_started)::float from queuemaster.queue_job where uuid = %s"
_DONE = "select state = 'done' from queuemaster.queue_job where uuid = %s"


def sample(dsn: str, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds to the start and to the end, a value for each job in each list."""
    started, done = [], []
    with common.connected(dsn) as enqueuing, common.connected(dsn) as watching:
        enqueuing.autocommit = False
        bench = Environment(enqueuing)["bench"]
        for number in range(count + 5):
            time.sleep(random.uniform(0.005, 0.02))  # the queue is idle again, and in step with no timer
            job = bench.browse(number).with_delay().noop()
            began = time.time()
            enqueuing.commit()
            common.wait(lambda uuid=job.uuid: bool(common.value(watching, _DONE, uuid)), 0.0001)  # type: ignore[misc]
            ended = time.time()
            if number >= 5:  # the first ones open the workers' sessions
                started.append((common.value(watching, _STARTED, job.uuid) - began) * 1000)
                done.append((ended - began) * 1000)
    return started, done


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m bench.latency")
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with common.durable_server() as server:
        about = {**common.machine(server), "samples": options.samples}
        dsn = common.new_database(server)
        with common.supervisor(dsn, "root:2"):
            measured = dict(
                zip(("commit to start", "commit to done"), sample(dsn, options.samples), strict=True)
            )
    rows = [
        {
            "ms": name,
            **{f"p{share * 100:g}": round(common.quantile(values, share), 2) for share in (0.5, 0.95, 0.99)},
            "max": round(max(values), 2),
        }
        for name, values in measured.items()
    ]
    common.tell("latency", about, rows, options.json)


if __name__ == "__main__":
    main()
