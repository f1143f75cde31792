"""The memory that an application takes: imported once by the template and forked, or imported by each process."""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
from psycopg2.extensions import connection as Connection

from queuejobs import Environment, Model

from . import common

WORKERS = 8
# an application with many small objects in memory, such as a registry of models or a catalogue
APPLICATION = """
import time
from queuejobs import Model

def resident():
    with open("/proc/self/statm") as stream:
        fields = stream.read().split()
    return (int(fields[1]) - int(fields[2])) * 4096

RECORDS, before = [], resident()
while resident() - before < {megabytes} << 20:
    start = len(RECORDS)
    RECORDS += [{{"id": n, "name": f"product {{n}}", "price": n / 7}} for n in range(start, start + 10_000)]

class Catalogue(Model):
    _name = "catalogue"

    def stay(self):
        time.sleep(0.5)

    def read(self):
        time.sleep(0.5)
        return sum(len(record["name"]) for record in RECORDS)
"""


class Catalogue(Model):
    """The application's model without the data, to enqueue its jobs."""

    _name = "catalogue"

    def stay(self) -> None:
        """Leave the data alone."""

    def read(self) -> None:
        """Read all of it."""


def pss(pids: list[int]) -> int:
    """MiB that the processes use together: a page that several share counts once."""
    total = 0
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the process has just ended
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total // 1024


def family(master: int) -> tuple[list[int], list[int]]:
    """The pids of the templates and of the workers of a supervisor, by their process titles."""
    children = psutil.Process(master).children()
    titles = {child.pid: " ".join(child.cmdline()) for child in children}
    workers = [pid for pid, title in titles.items() if "queuemaster: worker" in title]
    return [pid for pid, title in titles.items() if "queuemaster: template" in title], workers


def forked(dsn: str, directory: str) -> Iterator[tuple[str, int]]:
    """MiB of template and workers together, after jobs that leave the data alone, and after jobs that read it all."""
    with (
        common.supervisor(dsn, f"root:{WORKERS}", app="catalogue", path=directory) as master,
        common.connected(dsn) as connection,
    ):
        env = Environment(connection)
        for method in ("stay", "read"):
            common.wait(lambda: len(family(master.pid)[1]) == WORKERS, 0.05)
            catalogue = [env["catalogue"].browse([n]) for n in range(WORKERS)]
            for record in catalogue:
                getattr(record.with_delay(), method)()
            common.wait(lambda: _all_done(connection), 0.05)
            templates, workers = family(master.pid)
            yield method, pss(templates + workers)


def _all_done(connection: Connection) -> bool:
    statement = "select not exists (select from queuemaster.queue_job where state <> 'done')"
    return bool(common.value(connection, statement))


def separate(directory: str) -> int:
    """MiB of as many interpreters, each of which imports the application."""
    code = "import catalogue, sys; print('ready', flush=True); sys.stdin.read()"
    workers = Path(__file__).parents[1] / "workers"
    environment = {**os.environ, "PYTHONPATH": f"{workers}:{directory}"}
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", code],
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            )
            for _ in range(WORKERS)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
        return pss([process.pid for process in processes])


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory")
    parser.add_argument("--megabytes", type=int, default=150, help="what the application keeps")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with (
        common.durable_server() as server,
        tempfile.TemporaryDirectory(prefix="queuemaster-bench-") as directory,
    ):
        about = {**common.machine(server), "MiB of the application": options.megabytes, "workers": WORKERS}
        Path(directory, "catalogue.py").write_text(APPLICATION.format(megabytes=options.megabytes))
        names = {"stay": "template and workers, data left alone", "read": "the same, each has read all of it"}
        measured = [(names[how], total) for how, total in forked(common.new_database(server), directory)]
        measured.append(("separate interpreters", separate(directory)))
    rows = [{"processes": name, "PSS MiB, together": total} for name, total in measured]
    common.tell("memory", about, rows, options.json)


if __name__ == "__main__":
    main()
