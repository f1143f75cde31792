"""The jobs of the benchmarks. Imported by the template as ``--app bench.jobs``."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path

from queuejobs import Model
from queuejobs.shared.linux import private_memory

TABLE = "create table bench_effect (number integer not null)"
# a child process that computes up to its limit, notes when it got there, and computes on
CHILD = """
import pathlib, sys, time
while time.process_time() < float(sys.argv[1]): pass
pathlib.Path(sys.argv[2]).write_text(str(time.time()))
while True: pass
"""


class Bench(Model):
    """Jobs that do as little as possible."""

    _name = "bench"

    def noop(self) -> None:
        """Do nothing, which leaves claim and finish to be measured."""

    def insert(self) -> None:
        """Insert one row in the job's transaction."""
        self.env.cr.execute("insert into bench_effect (number) values (%s)", (self.id,))

    def run_away(self, how: str) -> None:
        """Run until it is stopped from outside."""
        while True:
            try:
                if how == "query":
                    self.env.cr.execute("select pg_sleep(3600)")
                elif how == "child":
                    subprocess.run(["sleep", "3600"], check=True)
                elif how == "interpreter lock":
                    ctypes.PyDLL("").sleep(3600)  # PyDLL, unlike CDLL, keeps the lock during the call
                elif how != "busy loop":
                    time.sleep(3600)
            except Exception:
                if how != "swallow":
                    raise

    def use_up(self, what: str, limit: float, note: str) -> None:
        """Exceed a limit, write the time into the file ``note``, and run until stopped from outside."""
        if what == "child":
            subprocess.run([sys.executable, "-c", CHILD, str(limit), note], check=True)
        elif what == "busy loop":
            began = time.process_time()
            while time.process_time() - began < limit:
                pass
        else:
            hoard = []
            while private_memory(os.getpid()) < limit:
                hoard.append(b"x" * (1 << 20))
        Path(note).write_text(str(time.time()))
        self.run_away("busy loop" if what == "busy loop" else "sleep")

    def hold(self, seconds: float, in_query: bool) -> None:
        """Wait in the first attempt, in a query or in Python, to be killed; be done at once in the next attempt."""
        self.env.cr.execute(
            "select attempt from queuemaster.queue_job where uuid = %s", (self.env.context["job_uuid"],)
        )
        if self.env.cr.fetchone()[0] > 1:
            return
        if in_query:
            self.env.cr.execute("select pg_sleep(%s)", (seconds,))
        else:
            time.sleep(seconds)
