"""What the benchmarks share: a durable server, a database, a supervisor, and how results are told."""

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

PATIENCE = 120.0  # seconds without the end of what is measured: something is broken
_ROOT = Path(__file__).parents[1]
_numbers = itertools.count(1)


@contextlib.contextmanager
def durable_server() -> Iterator[ServerPlan]:
    """The embedded PostgreSQL as ``queuemaster run`` starts it: fsync on, all at its defaults."""
    with tempfile.TemporaryDirectory(prefix="queuemaster-bench-") as directory:
        Path(directory).chmod(0o711)  # as root: the server's user passes through
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
    """``queuemaster run`` on that database. ``path``: where the application is, if it is not one of ours."""
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
            # one thread only here, and two system calls
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
    """The first value of the first row."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        row = cursor.fetchone()
        return row[0] if row else None


def wait(condition: Callable[[], bool], interval: float) -> None:
    """Ask until it is so."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing for {PATIENCE:g} s: the supervisor does not do what is measured")
        time.sleep(interval)


def quantile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of all are not above (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered) - 1, round(share * len(ordered) + 0.5) - 1))]


def machine(server: ServerPlan) -> dict[str, Any]:
    """In general words, what was measured on."""
    with connected(embedded.dsn(server, "postgres")) as connection:
        shown = {name: value(connection, f"show {name}") for name in ("server_version", "fsync")}
    return {
        "cores": os.cpu_count(), "load_before": round(os.getloadavg()[0], 1),
        "python": platform.python_version(), "postgresql": shown["server_version"], "fsync": shown["fsync"],
    }  # fmt: skip


def tell(title: str, about: dict[str, Any], rows: Sequence[dict[str, Any]], as_json: bool) -> None:
    """One JSON document, or a table in Markdown."""
    if as_json:
        print(json.dumps({"benchmark": title, **about, "rows": rows}, indent=2))
        return
    print(f"\n{title} ({', '.join(f'{name} {what}' for name, what in about.items())})\n")
    print("| " + " | ".join(rows[0]) + " |")
    print("|" + "---|" * len(rows[0]))
    for row in rows:
        print(
            "| "
            + " | ".join(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row.values())
            + " |"
        )
