"""The cost of metrics: the exporter's statement on a large table, and how reading it, or its death, slows jobs down.

While one queue is drained, windows of a second follow each other in a random order: quiet; quiet again; with clients
that request ``/metrics`` without a pause; with the exporter killed again and again; and with a process that only spins
at the exporter's priority. The second quiet window is the control: as far as its ratio differs from 1, the cause is
other work of the machine. The spinning process shows what any process costs that uses a processor.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import multiprocessing
import os
import signal
import statistics
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from typing import Any

import psutil
from psycopg2.extensions import connection as Connection

from queuejobs import Environment
from queuemaster.config.compiled import DatabaseConfig, ServerPlan
from queuemaster.exporter.job_counts import QueueRows

from . import common
from .interleaved import Window, by_round, effects, orders

WAYS = ("quiet", "quiet again", "hammered", "killed", "others spin")
SETTLE = 0.2  # seconds before a window, with its disturbance under way, that do not count
_PORT = 18079
_LEFT = "select exists (select from queuemaster.queue_job where state <> 'done')"
_ENDS = "select extract(epoch from date_done) from queuemaster.queue_job where state = 'done' order by 1"
_PAUSE = """
insert into queuemaster.control (channel, paused) values ('root', true);
select pg_notify('queue_job', '{"control": true}')
"""
_RESUME = """
delete from queuemaster.control;
select pg_notify('queue_job', '{"control": true}')
"""
_FILL = """
insert into queuemaster.queue_job (uuid, model_name, method_name, records, state, channel, date_done)
select gen_random_uuid()::text, 'bench', 'noop', '{{}}', '{state}', 'root.c' || n % 20, now()
  from generate_series(1, {rows}) n
"""


def statement(
    server: ServerPlan, rows: int, done: float, times: int, settled: bool
) -> tuple[list[float], bool]:
    """The times of the exporter's statement in milliseconds, and whether it estimated instead of counting.

    ``done``: the share of finished rows, 0 to 1. ``settled``: whether the table was vacuumed.
    """
    dsn = common.new_database(server)
    with common.connected(dsn) as connection, connection.cursor() as cursor:
        # else a trigger would send a notification for each row
        cursor.execute("alter table queuemaster.queue_job disable trigger user")
        for state, share in (("done", done), ("pending", 1 - done)):
            cursor.execute(_FILL.format(state=state, rows=int(rows * share)))
        if settled:
            cursor.execute("vacuum analyze queuemaster.queue_job")
    counts = QueueRows(DatabaseConfig("bench", dsn))
    milliseconds = []
    for _ in range(times + 1):
        counts.ask()
        if counts.rows is None:
            raise RuntimeError("the statement was not answered")
        milliseconds.append(counts.took * 1000)
    return milliseconds[1:], counts.estimated  # without the first time, which includes connecting


def hammer(on: Event, over: Event) -> None:
    """Request ``/metrics`` without a pause while ``on`` is set, each time on a new connection.

    It has the least priority, since clients on other machines would use none of this machine's processors.
    """
    os.nice(19)
    while not over.is_set():
        on.wait()
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", _PORT, timeout=5)
            connection.request("GET", "/metrics")
            connection.getresponse().read()
            connection.close()


def kill(on: Event, over: Event, master: int) -> None:
    """Kill the current exporter with SIGKILL five times a second, while ``on`` is set."""
    os.nice(19)
    while not over.is_set():
        on.wait()
        for child in psutil.Process(master).children():
            with contextlib.suppress(psutil.Error):
                if not over.is_set() and "exporter" in " ".join(child.cmdline()):
                    os.kill(child.pid, signal.SIGKILL)
        over.wait(0.2)


def spin(on: Event, over: Event) -> None:
    """Use a processor at the exporter's priority while ``on`` is set, for comparison."""
    os.nice(10)
    while not over.is_set():
        on.wait()
        sum(range(10_000))


class Disturbance:
    """Processes that disturb between ``start`` and ``stop``. They exist from the beginning: none starts in a window."""

    def __init__(self, target: Callable[..., None], count: int, *arguments: Any) -> None:
        self._on, self._over = multiprocessing.Event(), multiprocessing.Event()
        self._processes = [
            multiprocessing.Process(target=target, args=(self._on, self._over, *arguments))
            for _ in range(count)
        ]
        for process in self._processes:
            process.start()

    def start(self) -> None:
        self._on.set()

    def stop(self) -> None:
        self._on.clear()

    def end(self) -> None:
        self._over.set()
        self._on.set()
        for process in self._processes:
            process.join()


def watch(server: ServerPlan, workers: int, rounds: int, window: float) -> list[dict[str, float]]:
    """For each round, the jobs per second in each kind of window, while the queue is never empty."""
    dsn = common.new_database(server)
    with common.connected(dsn) as connection:
        with common.supervisor(dsn, f"root:{workers}", http=f"127.0.0.1:{_PORT}") as supervisor:
            common.wait(_listens, 0.05)
            began = time.time()
            _fill(connection, 1000)
            common.wait(lambda: not common.value(connection, _LEFT), 0.05)
            pace = 1000 / (time.time() - began)
            # paused while it is filled, for that takes as long as many windows
            _run(connection, _PAUSE)
            _fill(connection, int(2 * pace * rounds * len(WAYS) * (window + SETTLE)))
            _run(connection, "vacuum analyze queuemaster.queue_job")
            _run(connection, _RESUME)
            windows = _windows(supervisor.pid, rounds, window)
            if not common.value(connection, _LEFT):
                raise RuntimeError("the queue ran empty: the windows measured nothing")
        with connection.cursor() as cursor:
            cursor.execute(_ENDS)
            ends = [float(row[0]) for row in cursor.fetchall()]
    return by_round(windows, ends, len(WAYS))


def _run(connection: Connection, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def _fill(connection: Connection, jobs: int) -> None:
    env = Environment(connection)
    for first in range(0, jobs, 5000):
        numbers = range(first, min(jobs, first + 5000))
        env.delay_many(env["bench"].browse(number).delayable().insert() for number in numbers)


def _windows(master: int, rounds: int, window: float) -> list[Window]:
    disturbances = {
        "hammered": Disturbance(hammer, 2),
        "killed": Disturbance(kill, 1, master),
        "others spin": Disturbance(spin, 1),
    }
    windows = []
    try:
        time.sleep(2.0)  # until the workers run at full speed
        for ways in orders(WAYS, rounds, seed=rounds):
            for how in ways:
                if how in disturbances:
                    disturbances[how].start()
                time.sleep(SETTLE)
                began = time.time()
                time.sleep(window)
                windows.append(Window(how, began, time.time()))
                if how in disturbances:
                    disturbances[how].stop()
                if how == "killed":
                    common.wait(_listens, 0.05)  # until the exporter is back, which belongs to no window
    finally:
        for disturbance in disturbances.values():
            disturbance.end()
    return windows


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
    results = []
    for name, done, settled in cases:
        milliseconds, estimated = statement(server, rows, done, times, settled)
        results.append(
            {
                "rows": rows,
                "jobs": name,
                "median ms": round(statistics.median(milliseconds), 1),
                "max ms": round(max(milliseconds), 1),
                "live jobs": "estimated" if estimated else "counted",
            }
        )
    return results


def _drains(server: ServerPlan, workers: int, rounds: int, window: float) -> list[dict[str, Any]]:
    measured = watch(server, workers, rounds, window)
    effect_of = effects(measured, (WAYS[0], WAYS[1]))
    rows = []
    for how in WAYS:
        effect = effect_of.get(how)
        rows.append(
            {
                "exporter": how,
                "jobs/s, median": round(statistics.median(rates[how] for rates in measured)),
                "ratio to quiet, median": "" if effect is None else f"{effect.ratio:.3f}",
                "95 % interval": "" if effect is None else f"{effect.low:.3f} to {effect.high:.3f}",
            }
        )
    return rows


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m bench.exporter", description="what metrics cost")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=6, help="of ten windows of each kind")
    parser.add_argument("--window", type=float, default=1.0, help="seconds")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with common.durable_server() as server:
        about = common.machine(server)
        common.tell(
            "exporter: the statement", about, _statements(server, options.rows, options.times), options.json
        )
        rounds = 10 * options.rounds
        drains = _drains(server, options.workers, rounds, options.window)
    about = {**about, "workers": options.workers, "windows_each": rounds, "window_s": options.window}
    common.tell("exporter: drain", about, drains, options.json)


if __name__ == "__main__":
    main()
