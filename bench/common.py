"""Shared by the benchmarks: a durable server, a database, a supervisor, and the output of results."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection

from queuejobs.shared.linux import die_with_parent
from queuejobs.store import schema
from queuemaster import embedded
from queuemaster.config.compiled import ServerPlan

from . import jobs

PATIENCE = 120.0  # seconds after which a measurement that has not ended is an error
_ROOT = Path(__file__).parents[1]
_numbers = itertools.count(1)


@contextlib.contextmanager
def durable_server() -> Iterator[ServerPlan]:
    """The embedded PostgreSQL as ``queuemaster run`` starts it: with fsync, and all settings at their defaults."""
    with tempfile.TemporaryDirectory(prefix="queuemaster-bench-") as directory:
        Path(directory).chmod(0o711)  # run as root, the server has a user of its own, who must get through
        with embedded.running(Path(directory, "data")) as server:
            yield server


def new_database(server: ServerPlan) -> str:
    """The DSN of a fresh database with the queue and the table of effects."""
    name = f"bench_{next(_numbers)}"
    embedded.ensure_database(server, name)
    dsn = embedded.dsn(server, name)
    with contextlib.closing(psycopg2.connect(dsn)) as connection:
        schema.upgrade(connection)
        with connection, connection.cursor() as cursor:
            cursor.execute(jobs.TABLE)
    return dsn


@contextlib.contextmanager
def supervisor(
    dsn: str, channels: str, *options: str, app: str = "bench.jobs", path: str = "", http: str = ""
) -> Iterator[subprocess.Popen[bytes]]:
    """``queuemaster run`` on a database. ``path``: directory of the application ``app`` if it is not one of ours."""
    parent = os.getpid()
    paths = [str(_ROOT / "supervisor"), str(_ROOT / "workers"), *([path] if path else [])]
    with tempfile.TemporaryDirectory(prefix="queuemaster-bench-") as directory:
        log = Path(directory, "log")
        command = [
            sys.executable, "-m", "queuemaster", "run", "--database", dsn, "--app", app,
            "--channels", channels, "--http", http, "--pidfile", str(Path(directory, "pid")),
            "--logfile", str(log), "--log-level", "WARNING", *options,
        ]  # fmt: skip
        process = subprocess.Popen(
            command, cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log.open("w"),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            # safe, since this process has one thread and the function makes two system calls
            preexec_fn=lambda: die_with_parent(parent),  # noqa: PLW1509
        )  # fmt: skip
        try:
            yield process
        except BaseException:
            sys.stderr.write(log.read_text())
            raise
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(timeout=PATIENCE)


@contextlib.contextmanager
def connected(dsn: str) -> Iterator[Connection]:
    """A connection in autocommit mode."""
    with contextlib.closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        yield connection


def value(connection: Connection, statement: str, *parameters: Any) -> Any:
    """The first value of a statement's first row, None if there is no row."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        row = cursor.fetchone()
        return row[0] if row else None


def wait(condition: Callable[[], bool], interval: float) -> None:
    """Wait until the condition holds, with ``interval`` seconds between checks. ``TimeoutError`` after ``PATIENCE``."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the condition that is measured did not come true within {PATIENCE:g} s")
        time.sleep(interval)


def quantile(values: Sequence[float], share: float) -> float:
    """The least value that a ``share`` (0 to 1) of all values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered) - 1, round(share * len(ordered) + 0.5) - 1))]


def machine(server: ServerPlan) -> dict[str, Any]:
    """The machine, the interpreter and the server that results depend on."""
    with connected(embedded.dsn(server, "postgres")) as connection:
        version, fsync = (value(connection, f"show {name}") for name in ("server_version", "fsync"))
    return {
        "cores": os.cpu_count(), "load_before": round(os.getloadavg()[0], 1),
        "python": platform.python_version(), "postgresql": version, "fsync": fsync,
    }  # fmt: skip


def tell(title: str, about: dict[str, Any], rows: Sequence[dict[str, Any]], as_json: bool) -> None:
    """Print results as one JSON document, or as a table in Markdown."""
    if as_json:
        print(json.dumps({"benchmark": title, **about, "rows": rows}, indent=2))
        return
    print(f"\n{title} ({', '.join(f'{name} {fact}' for name, fact in about.items())})\n")
    print("| " + " | ".join(rows[0]) + " |")
    print("|" + "---|" * len(rows[0]))
    for row in rows:
        print(
            "| "
            + " | ".join(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row.values())
            + " |"
        )
