"""The cost of retention: a search that finds nothing among a million jobs, the removal of a batch, and the index.

Every job pays for the index. Rounds with and without it alternate, since the machine is not equally fast at all times.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

from queuejobs import Environment
from queuejobs.shared.process import Process
from queuejobs.store import claims
from queuejobs.store.retention import FINISHED, channels, purge
from queuemaster.config.compiled import ServerPlan

from . import common

_FILL = """
insert into queuemaster.queue_job (uuid, model_name, method_name, records, func_string, state, channel, date_done)
select n::text, 'bench', 'noop', '{"ids": [1]}', repeat('x', 300), 'done', 'root.c' || n %% %(channels)s,
       queuemaster.utc_now() - make_interval(secs => 86400.0 * 30 * n / %(rows)s)
  from generate_series(1, %(rows)s) n
"""


# in one statement: round trips and waiting for the disk cost far more than the index and would hide its cost
_LOOP = """
do $$
declare
    v_job queuemaster.queue_job;
begin
    loop
        select * into v_job from queuemaster.claim(0, 'root', %(worker)s, 1);
        exit when v_job.id is null;
        perform queuemaster.finish(v_job.id, v_job.attempt, %(worker)s, null, 0.1);
        commit;
    end loop;
end $$
"""


def looks(server: ServerPlan, rows: int, count: int) -> dict[str, Any]:
    """Milliseconds to search all channels for jobs that may be removed, and to remove a batch of a thousand."""
    dsn = common.new_database(server)
    with common.connected(dsn) as connection, connection.cursor() as cursor:
        cursor.execute(_FILL, {"rows": rows, "channels": count})
        cursor.execute("vacuum analyze queuemaster.queue_job")
        searches = [_milliseconds(lambda: [channels(cursor, state) for state in FINISHED]) for _ in range(20)]
        batches = [
            _milliseconds(lambda: purge(cursor, "done", f"root.c{n % min(count, 20)}", 86400.0))  # noqa: B023
            for n in range(20)
        ]
    return {
        "rows": rows,
        "channels": count,
        "a look, ms": round(statistics.median(searches), 2),
        "1,000 removed, ms": round(statistics.median(batches), 1),
    }


def _milliseconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


def cost(server: ServerPlan, jobs: int, with_index: bool) -> tuple[float, float]:
    """Microseconds that claim and finish of a job take in the server, and bytes of write-ahead log for each job."""
    dsn = common.new_database(server)
    with common.connected(dsn) as connection, connection.cursor() as cursor:
        if not with_index:
            cursor.execute("drop index queuemaster.queue_job_ended")
        env = Environment(connection)
        env.delay_many(env["bench"].browse(number).delayable().noop() for number in range(jobs))
        cursor.execute("vacuum analyze queuemaster.queue_job")
        worker = claims.register(cursor, Process("bench", "boot", 1, 1), "root")
        cursor.execute("set synchronous_commit = off")
        before = common.value(connection, "select pg_current_wal_insert_lsn()")
        began = time.perf_counter()
        cursor.execute(_LOOP, {"worker": worker})
        seconds = time.perf_counter() - began
        written = common.value(connection, "select pg_current_wal_insert_lsn() - %s::pg_lsn", before)
        return seconds * 1e6 / jobs, float(written) / jobs


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m bench.retention", description="the cost of retention")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with common.durable_server() as server:
        about = common.machine(server)
        searches = [looks(server, options.rows, count) for count in (20, 500)]
        pairs = [
            [cost(server, options.jobs, with_index) for with_index in (False, True)]
            for _ in range(options.rounds)
        ]
    without, indexed = (
        {
            "time": statistics.median(micros for micros, _ in costs),
            "wal": statistics.median(written for _, written in costs),
        }
        for costs in zip(*pairs, strict=True)
    )
    row = {
        "µs a job without the index": round(without["time"]),
        "with": round(indexed["time"]),
        "WAL bytes a job without": round(without["wal"]),
        "with the index": round(indexed["wal"]),
    }
    if options.json:
        common.tell("retention", about, [*searches, row], True)
    else:
        common.tell("retention", about, searches, False)
        common.tell("the index that it needs", about, [row], False)


if __name__ == "__main__":
    main()
