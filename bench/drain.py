"""How fast a full queue is drained, compared with a bare psycopg2 loop on the same server in the same run.

The bare loop does only what every queue must do: claim the next job (asynchronous commit, one function call), do its
work, mark it done (durable commit). It has no channels, no fences, no recovery, and one narrow table. Rounds alternate
between the two, since the machine is not equally fast at all times; medians are reported.
"""

from __future__ import annotations

import argparse
import multiprocessing
import multiprocessing.synchronize
import statistics
import time
from typing import Any

import psycopg2

from queuejobs import Environment
from queuemaster.config.compiled import ServerPlan

from . import common

_RAW = """
create table raw_job (id integer primary key, state text not null default 'pending', payload text);
create index raw_job_ready on raw_job (id) where state = 'pending';
create function raw_claim() returns setof integer language plpgsql set enable_seqscan = off set jit = off as $$
begin
    perform set_config('synchronous_commit', 'off', true);
    return query update raw_job set state = 'started'
        where id = (select id from raw_job where state = 'pending' order by id limit 1 for update skip locked)
        returning id;
end $$;
"""
_RAW_FILL = "insert into raw_job select n, 'pending', repeat('x', 300) from generate_series(1, %s) n"
_BATCH = ":batch=20"
_RAW_DONE = "update raw_job set state = 'done' where id = %s"


def raw(server: ServerPlan, kind: str, workers: int, jobs: int) -> float:
    """Jobs per second of the bare loop."""
    dsn = common.new_database(server)
    with common.connected(dsn) as connection, connection.cursor() as cursor:
        cursor.execute(_RAW)
        cursor.execute(_RAW_FILL, (jobs,))
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(workers), context.SimpleQueue()
    processes = [context.Process(target=_loop, args=(dsn, kind, barrier, results)) for _ in range(workers)]
    for process in processes:
        process.start()
    spans = [results.get() for _ in processes]
    for process in processes:
        process.join()
    if sum(done for _, _, done in spans) != jobs:
        raise RuntimeError(f"the bare loop did {spans}, expected {jobs} jobs in all")
    seconds: float = max(end for _, end, _ in spans) - min(begin for begin, _, _ in spans)
    return jobs / seconds


def _loop(dsn: str, kind: str, barrier: multiprocessing.synchronize.Barrier, results: Any) -> None:
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("prepare claim as select raw_claim()")
    barrier.wait()
    begin, done = time.monotonic(), 0
    while True:
        cursor.execute("execute claim")
        row = cursor.fetchone()
        if row is None:
            break
        if kind == "insert":
            connection.autocommit = False
            cursor.execute("insert into bench_effect (number) values (%s)", row)
            cursor.execute(_RAW_DONE, row)
            connection.commit()
            connection.autocommit = True
        else:
            cursor.execute(_RAW_DONE, row)
        done += 1
    results.put((begin, time.monotonic(), done))


def ours(server: ServerPlan, kind: str, workers: int, jobs: int, keys: str = "") -> float:
    """Jobs per second of Queuemaster, from the first start to the last end. ``keys``: settings of the channel."""
    dsn = common.new_database(server)
    with common.connected(dsn) as connection:
        env = Environment(connection)
        env.delay_many(
            getattr(env["bench"].browse(number).delayable(), kind)() for number in range(1, jobs + 1)
        )
        unfinished = "select exists (select from queuemaster.queue_job where state <> 'done')"
        with common.supervisor(dsn, f"root:{workers}{keys}"):
            common.wait(lambda: not common.value(connection, unfinished), 0.1)
        span = "select extract(epoch from max(date_done) - min(date_started)) from queuemaster.queue_job"
        return jobs / float(common.value(connection, span))


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m bench.drain", description="bare loop and Queuemaster")
    parser.add_argument("--jobs", type=int, default=600, help="per measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    cases = [(kind, workers) for kind in ("noop", "insert") for workers in options.workers]
    speeds: dict[tuple[str, int], list[tuple[float, float, float]]] = {case: [] for case in cases}
    with common.durable_server() as server:
        about = {**common.machine(server), "jobs": options.jobs, "rounds": options.rounds}
        for _ in range(options.rounds):
            for case in cases:
                bare, own = raw(server, *case, options.jobs), ours(server, *case, options.jobs)
                speeds[case].append((bare, own, ours(server, *case, options.jobs, _BATCH)))
    rows = [
        {
            "job": kind,
            "workers": workers,
            "bare loop, jobs/s": round(statistics.median(bare for bare, _, _ in pairs)),
            "Queuemaster, jobs/s": round(statistics.median(own for _, own, _ in pairs)),
            "ratio, median": round(statistics.median(own / bare for bare, own, _ in pairs), 2),
            "least and greatest": f"{min(o / b for b, o, _ in pairs):.2f} to {max(o / b for b, o, _ in pairs):.2f}",
            f"with {_BATCH[1:]}, jobs/s": round(statistics.median(batch for _, _, batch in pairs)),
            "times": round(statistics.median(batch / own for _, own, batch in pairs), 2),
        }
        for (kind, workers), pairs in speeds.items()
    ]
    common.tell("drain", about, rows, options.json)


if __name__ == "__main__":
    main()
