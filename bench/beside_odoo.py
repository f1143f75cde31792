"""On a real Odoo: the addon's own runner beside Queuemaster on its two paths, each with four jobs at a time (root:4).

Measured are how fast a full queue of jobs that do nothing is drained, how long a single job waits for its start, and
how much memory the processes use. The rounds of the three alternate, since the machine is not equally fast at all
times. Needs ``tests`` on the path: ``make bench-odoo ODOO_PATH=… ODOO_PYTHON=…``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from queuemaster.config.compiled import ServerPlan
from support import realodoo
from support.realodoo import Console, Odoo

from . import common
from .memory import pss

WAYS = ("the addon's runner", "ours, the addon's path", "ours, direct")
_CAPACITY = 4
_FILL = "for number in range({}): env['queuemaster.effect'].with_delay().noop()"
_ONE = """
import time
uuid = env['queuemaster.effect'].with_delay().stamp().uuid
env.cr.commit()
result = [uuid, time.time()]
"""
_PICKED_UP = "select state not in ('pending', 'enqueued') from queue_job where uuid = %s"
_LIVE = "select count(*) from queue_job where state not in ('done', 'failed', 'cancelled')"


@contextlib.contextmanager
def running(odoo: Odoo, way: str) -> Iterator[psutil.Process]:
    """Start one of ``WAYS`` of running jobs; its first process, when it is ready for jobs."""
    channels = f"root:{_CAPACITY}"
    if way == WAYS[0]:
        odoo.configure(channels)
        with odoo.web(channels, workers=_CAPACITY) as process:
            common.wait(odoo.stock_leads, 0.05)
            yield psutil.Process(process.pid)
    else:
        direct = "yes" if way == WAYS[2] else "no"
        with odoo.supervised(channels, direct=direct, log_handler="queuemaster:INFO") as ours:
            common.wait(lambda: len(ours.children("worker")) == _CAPACITY, 0.05)
            yield psutil.Process(ours.process.pid)


def drain(odoo: Odoo, jobs: int) -> float:
    """Jobs per second, from the commit that enqueues all of them until another session sees none unfinished."""
    odoo.run("for number in range(20): env['queuemaster.effect'].with_delay().noop()")  # wake all workers up
    common.wait(lambda: not odoo.value(_LIVE), 0.01)
    odoo.run(_FILL.format(jobs))
    began = time.monotonic()
    common.wait(lambda: not odoo.value(_LIVE), 0.01)
    spent = time.monotonic() - began
    if odoo.value("select count(*) from queue_job where state <> 'done'"):
        raise RuntimeError("some of the jobs failed")
    odoo.rows("delete from queue_job")
    return jobs / spent


def latency(odoo: Odoo, samples: int) -> list[tuple[float, float]]:
    """Milliseconds from the end of the commit that enqueues a job, on an idle queue.

    A pair for each job: until another session, which polls without a pause, sees it started, and until its code runs.
    """
    waited = []
    for number in range(samples + 5):
        time.sleep(random.uniform(0.02, 0.1))
        uuid, enqueued = odoo.run(_ONE)
        common.wait(lambda uuid=uuid: bool(odoo.value(_PICKED_UP, uuid)), 0)  # type: ignore[misc]
        started = time.time()
        common.wait(lambda: not odoo.value(_LIVE), 0.005)
        if number >= 5:
            code_began = float(odoo.job(uuid)["result"])
            waited.append(((started - enqueued) * 1000, (code_began - enqueued) * 1000))
    return waited


def memory(first: psutil.Process) -> int:
    """MiB used by a process and its descendants together; a page that several share counts once."""
    return pss([process.pid for process in [first, *first.children(recursive=True)]])


def measure(make: Callable[[], Odoo], options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row of results for each of ``WAYS``."""
    speeds: dict[str, list[float]] = {way: [] for way in WAYS}
    waits: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    sizes: dict[str, int] = {}
    odoos = {way: make() for way in WAYS}
    for odoo in odoos.values():
        odoo.rows("set statement_timeout = 0")
    for _ in range(options.rounds):
        for way in WAYS:
            with running(odoos[way], way) as first:
                try:
                    speeds[way].append(drain(odoos[way], options.jobs))
                except TimeoutError as error:
                    states = odoos[way].rows("select state, count(*) from queue_job group by 1")
                    raise TimeoutError(f"{way}: {states}") from error
                waits[way] += latency(odoos[way], options.samples)
                sizes[way] = memory(first)
    stock = statistics.median(speeds[WAYS[0]])
    return [
        {
            f"jobs by {_CAPACITY} at a time": way,
            "jobs/s, median": round(statistics.median(speeds[way])),
            "least and greatest": f"{min(speeds[way]):.0f} to {max(speeds[way]):.0f}",
            "times the addon's": round(statistics.median(speeds[way]) / stock, 2),
            "ms to started, p50": round(common.quantile([started for started, _ in waits[way]], 0.5), 1),
            "p95": round(common.quantile([started for started, _ in waits[way]], 0.95), 1),
            "ms to its code, p50": round(common.quantile([code for _, code in waits[way]], 0.5), 1),
            "PSS MiB, all processes": sizes[way],
        }
        for way in WAYS
    ]


def where(odoo: Odoo, jobs: int) -> list[dict[str, Any]]:
    """How the time of a job on the direct path divides into steps, with one worker and nothing else at work."""
    odoo.configure("root:1")
    script = Path(__file__).with_name("beside_odoo_time.py")
    workers = Path(__file__).parents[1] / "workers"
    ran = subprocess.run(
        [realodoo.PYTHON, str(script), str(odoo.conf), realodoo.ODOO, odoo.dsn, str(jobs)],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(workers)},
    )  # fmt: skip
    if ran.returncode:
        raise RuntimeError(ran.stderr[-2000:])
    return [
        {"step": row["step"], "ms": round(row["ms"], 2), "share": f"{row['share']:.0%}"}
        for row in json.loads(ran.stdout)
    ]


@contextlib.contextmanager
def databases(server: ServerPlan, directory: Path) -> Iterator[Callable[[], Odoo]]:
    """A function that creates databases of Odoo with the addon queue_job and the test addon."""
    realodoo.make_role(server)
    realodoo.install(server, "template_odoo", directory, "queuemaster_test")
    console = Console(server, directory)

    def make() -> Odoo:
        name = f"odoo_{len(list(directory.iterdir()))}"
        realodoo.clone(server, "template_odoo", name)
        (directory / name).mkdir()
        return Odoo(server, console, name, directory / name)

    try:
        yield make
    finally:
        console.close()


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m bench.beside_odoo")
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--samples", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--where", action="store_true", help="where the time of a job goes, instead")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not realodoo.ODOO:
        parser.error(realodoo.WITHOUT.replace("test-odoo", "bench-odoo"))
    with (
        common.durable_server() as server,
        tempfile.TemporaryDirectory(prefix="queuemaster-bench-") as directory,
    ):
        release = subprocess.run(
            [realodoo.PYTHON, "-c", "import odoo.release as r; print(r.version)"],
            capture_output=True, text=True, check=True, cwd=realodoo.ODOO,
        ).stdout.strip()  # fmt: skip
        about = {**common.machine(server), "odoo": release, "jobs": options.jobs, "rounds": options.rounds}
        with databases(server, Path(directory)) as make:
            rows = where(make(), options.jobs) if options.where else measure(make, options)
    common.tell("beside Odoo", about, rows, options.json)


if __name__ == "__main__":
    main()
