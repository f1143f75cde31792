"""A real Odoo under test: its databases, its interpreter, its servers, and our supervisor beside it.

``ODOO_PATH`` names its source tree, ``ODOO_PYTHON`` the interpreter that has its requirements and the addon.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg2
from psycopg2 import sql

from queuemaster import embedded
from queuemaster.config.compiled import ServerPlan
from support.supervised import Supervised, environment
from support.waiting import wait_until

PATIENCE = 60.0  # seconds
ODOO = os.environ.get("ODOO_PATH", "")
PYTHON = os.environ.get("ODOO_PYTHON") or sys.executable
WITHOUT = "ODOO_PATH names no Odoo: make test-odoo ODOO_PATH=… ODOO_PYTHON=…"
ADDONS = Path(__file__).parents[1] / "odoo" / "addons"
ADMIN = 2
_USER = "odoo"
_LIVE = ("wait_dependencies", "pending", "enqueued", "started")


class Odoo:
    """One database of Odoo, and its configuration file."""

    def __init__(self, server: ServerPlan, console: Console, name: str, directory: Path) -> None:
        self.server = server
        self.console = console
        self.name = name
        self.directory = directory
        self.conf = directory / "odoo.conf"
        self.port = _free_port()
        self.dsn = f"host={server.socket_dir} port={server.port} user={_USER} dbname={name}"
        self.connection = psycopg2.connect(embedded.dsn(server, name))
        self.connection.autocommit = True

    def configure(self, channels: str, **options: Any) -> None:
        """Write odoo.conf: Odoo's part, and ours with the channels and ``options``."""
        settings = {"channels": channels, "python": PYTHON, "odoo_path": ODOO, **options}
        ours = "\n".join(f"{key} = {value}" for key, value in settings.items())
        text = configuration(self.server, self.name, self.directory, http_port=self.port)
        self.conf.write_text(f"{text}\n[queue_job]\n{ours}\n")

    def run(self, code: str, uid: int = ADMIN) -> Any:
        """Run code with ``env`` in a transaction of its own; what it leaves in ``result``."""
        return self.console.ask(self.name, uid, textwrap.dedent(code))

    def delay(self, call: str, **properties: Any) -> str:
        """Delay a call of the test addon's model, ``add(1)``; the job's uuid."""
        return str(self.run(f"result = env['queuemaster.effect'].with_delay(**{properties!r}).{call}.uuid"))

    def rows(self, statement: str, *parameters: Any) -> list[Any]:
        """What a query returns."""
        with self.connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def value(self, statement: str, *parameters: Any) -> Any:
        """The first value of the first row."""
        return self.rows(statement, *parameters)[0][0]

    def job(self, uuid: str) -> dict[str, Any]:
        """A job's row."""
        text = self.value("select row_to_json(job)::text from queue_job job where uuid = %s", uuid)
        row: dict[str, Any] = json.loads(text)
        return row

    def wait_for(self, uuid: str, *states: str, timeout: float = PATIENCE) -> dict[str, Any]:
        """Wait until a job is in one of the states; its row."""
        return wait_until(
            lambda: (row := self.job(uuid))["state"] in states and row,
            timeout, lambda: f"job {uuid} {' or '.join(states)}, but: {self.job(uuid)}",
        )  # fmt: skip

    def wait_until_drained(self, timeout: float = PATIENCE) -> None:
        """Wait until no job is live."""
        statement = "select count(*) from queue_job where state = any(%s)"
        wait_until(lambda: not self.value(statement, list(_LIVE)), timeout, "an empty queue")

    def effects(self) -> list[int]:
        """The numbers that jobs have written, sorted."""
        return [row[0] for row in self.rows("select number from queuemaster_effect order by number")]

    def stock_leads(self) -> bool:
        """Whether some session holds the lock by which the addon's runner leads."""
        statement = (
            "select count(*) from pg_locks where locktype = 'advisory' and objsubid = 1 and granted"
            " and (classid::bigint << 32) + objid::bigint = 2293787760715711918"
            " and database = (select oid from pg_database where datname = current_database())"
        )
        return bool(self.value(statement))

    # what runs beside it

    @contextlib.contextmanager
    def supervised(self, channels: str = "root:4", **options: Any) -> Iterator[Supervised]:
        """``queuemaster run`` on this Odoo's own configuration file; ended at the end."""
        self.configure(channels, **options)
        (self.directory / "log").touch()
        files = ["--pidfile", str(self.directory / "pid"), "--logfile", str(self.directory / "log")]
        with (self.directory / "log").open("a") as stream:
            process = psutil.Popen(
                [sys.executable, "-m", "queuemaster", "run", "-c", str(self.conf), *files, "--http", "",
                 "--log-level", "INFO", *([] if "log_handler" in options else ["--log-handler", "queuemaster:DEBUG"])],
                stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=environment(), cwd=self.directory,
            )  # fmt: skip
        running = Supervised(process, self.directory)
        try:
            self.wait_for_workers(running)
            yield running
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=PATIENCE)

    def wait_for_workers(self, running: Supervised) -> None:
        """Until we lead and somebody waits for jobs."""
        try:
            wait_until(lambda: self.stock_leads() and running.children("worker"), PATIENCE, "workers")
        except AssertionError as error:
            raise AssertionError(f"{error}; log:\n{running.log[-5000:]}") from None

    @contextlib.contextmanager
    def web(self, channels: str, workers: int = 2) -> Iterator[subprocess.Popen[bytes]]:
        """``odoo-bin`` with web workers, and the addon's own runner unless ``channels`` is ``root:0``."""
        if not self.conf.exists():
            self.configure(channels)
        log = (self.directory / "odoo.log").open("a")
        process = subprocess.Popen(
            [PYTHON, f"{ODOO}/odoo-bin", "-c", str(self.conf), f"--workers={workers}", "--max-cron-threads=0"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            env={**os.environ, "ODOO_QUEUE_JOB_CHANNELS": channels},
        )  # fmt: skip
        try:
            wait_until(self._answers, PATIENCE, "Odoo's web workers")
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


class Console:
    """Odoo's interpreter, kept running."""

    def __init__(self, server: ServerPlan, directory: Path) -> None:
        conf = directory / "console.conf"
        conf.write_text(configuration(server, "", directory))
        self._process = subprocess.Popen(
            [PYTHON, str(ADDONS.with_name("console.py")), str(conf), ODOO],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=(directory / "console.log").open("w"),
            text=True, env={**os.environ, "PYTHONPATH": str(ADDONS.parents[2] / "workers")},
        )  # fmt: skip

    def ask(self, database: str, uid: int, code: str) -> Any:
        """Run code there."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"database": database, "uid": uid, "code": code}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=PATIENCE)


def configuration(server: ServerPlan, database: str, directory: Path, http_port: int = 0) -> str:
    """The part of odoo.conf that is Odoo's."""
    site = subprocess.run(
        [PYTHON, "-c", "import site; print(site.getsitepackages()[0])"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    addons = [f"{ODOO}/addons", f"{ODOO}/odoo/addons", f"{site}/odoo/addons", str(ADDONS)]
    return "\n".join(
        [
            "[options]",
            f"addons_path = {','.join(path for path in addons if os.path.isdir(path))}",
            f"db_host = {server.socket_dir}",
            f"db_port = {server.port}",
            f"db_user = {_USER}",
            f"db_name = {database}" if database else "",
            f"data_dir = {directory / 'data'}",
            "server_wide_modules = base,rpc,web,queue_job",
            "http_interface = 127.0.0.1",
            f"http_port = {http_port or _free_port()}",
            f"gevent_port = {_free_port()}",
            "without_demo = True",
            "",
        ]
    )


def install(server: ServerPlan, database: str, directory: Path, modules: str) -> None:
    """Have Odoo create the database, or add modules to it."""
    conf = directory / f"install-{database}.conf"
    conf.write_text(configuration(server, database, directory))
    ran = subprocess.run(
        [PYTHON, f"{ODOO}/odoo-bin", "-c", str(conf), "-d", database, "-i", modules, "--stop-after-init"],
        capture_output=True, text=True, check=False,
        env={**os.environ, "ODOO_QUEUE_JOB_CHANNELS": "root:0"},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-4000:]


def make_role(server: ServerPlan) -> None:
    """Odoo refuses to work as PostgreSQL's superuser of that name."""
    _admin(server, sql.SQL("create role {} login createdb").format(sql.Identifier(_USER)))


def clone(server: ServerPlan, template: str, name: str) -> None:
    """A copy of a database that nobody is connected to."""
    statement = sql.SQL("create database {} template {} owner {} strategy file_copy")
    _admin(server, statement.format(*map(sql.Identifier, (name, template, _USER))))


def drop(server: ServerPlan, name: str) -> None:
    """Remove a database, whoever is connected."""
    _admin(server, sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def _admin(server: ServerPlan, statement: sql.Composed) -> None:
    connection = psycopg2.connect(embedded.dsn(server, "postgres"))
    connection.autocommit = True
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute(statement)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
