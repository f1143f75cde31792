"""The cost of storing jobs, alone and as graphs: elapsed time, the client's processor time, and the client's memory."""

from __future__ import annotations

import argparse
import statistics
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

from queuejobs import Environment, chain, group
from queuemaster.config.compiled import ServerPlan

from . import common


def _singles(env: Environment, jobs: int) -> None:
    env.delay_many(env["bench"].browse(number).delayable().noop() for number in range(jobs))


def _one_by_one(env: Environment, jobs: int) -> None:
    for number in range(jobs):
        env["bench"].browse(number).with_delay().noop()


def _chain(env: Environment, jobs: int) -> None:
    chain(*(env["bench"].browse(number).delayable().noop() for number in range(jobs))).delay()


def _fan_in(env: Environment, jobs: int) -> None:
    members = group(*(env["bench"].browse(number).delayable().noop() for number in range(jobs - 1)))
    chain(members, env["bench"].browse(jobs).delayable().noop()).delay()


SHAPES: dict[str, Callable[[Environment, int], None]] = {
    "with_delay, one by one": _one_by_one,
    "delay_many": _singles,
    "one chain": _chain,
    "one group, and one job after it": _fan_in,
}


def measure(server: ServerPlan, shape: str, jobs: int) -> tuple[float, float]:
    """Seconds until the commit has returned, and seconds of the client's processor time."""
    dsn = common.new_database(server)
    with common.connected(dsn) as connection:
        connection.autocommit = False
        wall, cpu = time.perf_counter(), time.process_time()
        SHAPES[shape](Environment(connection), jobs)
        connection.commit()
        return time.perf_counter() - wall, time.process_time() - cpu


def memory(server: ServerPlan, shape: str, jobs: int) -> float:
    """The peak of memory that Python has allocated, in bytes per job."""
    dsn = common.new_database(server)
    with common.connected(dsn) as connection:
        tracemalloc.start()
        SHAPES[shape](Environment(connection), jobs)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak / jobs


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m bench.enqueue", description="storing jobs")
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with common.durable_server() as server:
        about = {**common.machine(server), "jobs": options.jobs, "rounds": options.rounds}
        for shape in SHAPES:
            times = [measure(server, shape, options.jobs) for _ in range(options.rounds)]
            wall = statistics.median(wall for wall, _ in times)
            rows.append(
                {
                    "shape": shape,
                    "jobs/s": round(options.jobs / wall),
                    "client, µs a job": round(
                        statistics.median(cpu for _, cpu in times) * 1e6 / options.jobs
                    ),
                    "KiB a job": round(memory(server, shape, options.jobs) / 1024, 1),
                    "with a tenth of the jobs": round(memory(server, shape, options.jobs // 10) / 1024, 1),
                }
            )
    common.tell("enqueue", about, rows, options.json)


if __name__ == "__main__":
    main()
