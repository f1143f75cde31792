"""What metrics cost: the statement on a large table, and whether jobs notice that somebody reads, or that it dies.

Three drains of one queue length in turn, in each round: without anybody asking, with clients that ask for ``/metrics``
without a pause, and with the exporter killed again and again. Only their ratios mean anything.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import multiprocessing
import os
import signal
import statistics
import subprocess
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Event
from typing import Any

import psutil

from queuejobs import Environment
from queuemaster.config.compiled import DatabaseConfig, ServerPlan
from queuemaster.exporter.rows import QueueRows

from . import common

_PORT = 18079
_FILL = """
insert into queuemaster.queue_job (uuid, model_name, method_name, records, state, channel, date_done)
select gen_random_uuid()::text, 'bench', 'noop', '{{}}', '{state}', 'root.c' || n % 20, now()
  from generate_series(1, {rows}) n
"""


def statement(server: ServerPlan, rows: int, done: float, times: int, settled: bool) -> list[float]:
    """Milliseconds of the exporter's statement; ``done``: the share of finished rows, ``settled``: after VACUUM."""
    dsn = common.new_database(server)
    with common.connected(dsn) as connection, connection.cursor() as cursor:
        # without a trigger's notification for each row
        cursor.execute("alter table queuemaster.queue_job disable trigger user")
        for state, share in (("done", done), ("pending", 1 - done)):
            cursor.execute(_FILL.format(state=state, rows=int(rows * share)))
        if settled:
            cursor.execute("vacuum analyze queuemaster.queue_job")
    asked = QueueRows(DatabaseConfig("bench", dsn))
    taken = []
    for _ in range(times + 1):
        asked.ask()
        if asked.rows is None:
            raise RuntimeError("the statement was not answered")
        taken.append(asked.took * 1000)
    return taken[1:]  # the first one connects


def hammer(stop: Event) -> None:
    """Ask without a pause, as one client after the other."""
    while not stop.is_set():
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", _PORT, timeout=5)
            connection.request("GET", "/metrics")
            connection.getresponse().read()
            connection.close()


def kill(stop: Event, master: int) -> None:
    """SIGKILL of whatever exporter there is, five times a second."""
    while not stop.wait(0.2):
        for child in psutil.Process(master).children():
            with contextlib.suppress(psutil.Error):
                if "exporter" in " ".join(child.cmdline()):
                    os.kill(child.pid, signal.SIGKILL)


@contextlib.contextmanager
def disturbed(target: Callable[..., None] | None, count: int, *arguments: Any) -> Iterator[None]:
    """As long as it lasts, ``count`` processes disturb."""
    stop = multiprocessing.Event()
    workers = [
        multiprocessing.Process(target=target, args=(stop, *arguments)) for _ in range(count if target else 0)
    ]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        stop.set()
        for worker in workers:
            worker.join()


def drain(server: ServerPlan, how: str, workers: int, jobs: int) -> float:
    """Jobs a second, from the first start to the last end."""
    dsn = common.new_database(server)
    with common.connected(dsn) as connection:
        env = Environment(connection)
        env.delay_many(env["bench"].browse(number).delayable().insert() for number in range(1, jobs + 1))
        left = "select exists (select from queuemaster.queue_job where state <> 'done')"
        # paused until the exporter listens, so that all of it is disturbed
        common.value(
            connection, "insert into queuemaster.control (channel, paused) values ('root', true) returning 1"
        )
        with common.supervisor(dsn, f"root:{workers}", f"127.0.0.1:{_PORT}") as supervisor:
            common.wait(_listens, 0.05)
            with disturbed(*_disturbance(how, supervisor)):
                common.value(
                    connection,
                    "delete from queuemaster.control returning pg_notify('queue_job', '{\"control\": true}')",
                )
                common.wait(lambda: not common.value(connection, left), 0.1)
        span = "select extract(epoch from max(date_done) - min(date_started)) from queuemaster.queue_job"
        return jobs / float(common.value(connection, span))


def _disturbance(how: str, supervisor: subprocess.Popen[bytes]) -> tuple[Any, ...]:
    return {"quiet": (None, 0), "hammered": (hammer, 2), "killed": (kill, 1, supervisor.pid)}[how]


def _listens() -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", _PORT, timeout=5)
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False


def _statements(server: ServerPlan, rows: int, times: int) -> list[dict[str, Any]]:
    cases = (
        ("mostly done, vacuumed", 0.99, True),
        ("all pending, vacuumed", 0.0, True),
        ("all pending, not yet", 0.0, False),
    )
    found = []
    for name, done, settled in cases:
        taken = statement(server, rows, done, times, settled)
        found.append(
            {
                "rows": rows,
                "jobs": name,
                "median ms": round(statistics.median(taken), 1),
                "max ms": round(max(taken), 1),
            }
        )
    return found


def _drains(server: ServerPlan, workers: int, jobs: int, rounds: int) -> list[dict[str, Any]]:
    ways = ("quiet", "hammered", "killed")
    speeds: dict[str, list[float]] = {how: [] for how in ways}
    for number in range(rounds):
        for how in ways[number % 3 :] + ways[: number % 3]:  # nobody is always the first
            speeds[how].append(drain(server, how, workers, jobs))
    quiet = speeds["quiet"]
    rows = []
    for how, reached in speeds.items():
        ratios = [own / other for own, other in zip(reached, quiet, strict=True)]
        rows.append(
            {
                "exporter": how,
                "jobs/s, median": round(statistics.median(reached)),
                "ratio to quiet, median": round(statistics.median(ratios), 2),
                "least and greatest": f"{min(ratios):.2f} to {max(ratios):.2f}",
            }
        )
    return rows


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m bench.exporter", description="what metrics cost")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with common.durable_server() as server:
        about = common.machine(server)
        common.tell(
            "exporter: the statement", about, _statements(server, options.rows, options.times), options.json
        )
        drains = _drains(server, options.workers, options.jobs, options.rounds)
    about = {**about, "jobs": options.jobs, "workers": options.workers, "rounds": options.rounds}
    common.tell("exporter: drain", about, drains, options.json)


if __name__ == "__main__":
    main()
