"""A supervisor beside Odoo: an odoo.conf, and a little Odoo (tests/odoolike) in whose interpreter the jobs run."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
from psycopg2.extensions import parse_dsn

from support.supervised import PATIENCE, Supervised, command, environment

ODOOLIKE = Path(__file__).parents[1] / "odoolike"
EFFECTS = "create table if not exists effect (id serial primary key, job text, what text)"


def odoo_conf(directory: Path, dsn: str, channels: str, names: str | None = None, **own: str) -> Path:
    """Odoo's file as an operator has it, for the server of ``dsn``. ``names``: db_name, by default that of the DSN."""
    parts = parse_dsn(dsn)
    options = {
        "db_host": parts.get("host", "False"), "db_port": parts.get("port", "False"),
        "db_user": parts.get("user", "False"), "db_password": parts.get("password", "False"),
        "db_name": parts["dbname"] if names is None else names,
    }  # fmt: skip
    lines = ["[options]", *(f"{name} = {value}" for name, value in options.items())]
    lines += ["[queue_job]", f"channels = {channels}", *(f"{name} = {value}" for name, value in own.items())]
    file = directory / "odoo.conf"
    file.write_text("\n".join(lines) + "\n")
    return file


@contextlib.contextmanager
def beside_odoo(
    dsn: str,
    directory: Path,
    version: int = 19,
    channels: str = "root:4",
    options: Sequence[str] = (),
    names: str | None = None,
    **own: str,
) -> Iterator[Supervised]:
    """Run the supervisor on Odoo's configuration; it is ended at the end, however the test went."""
    file = odoo_conf(directory, dsn, channels, names, **own)
    arguments = ["-c", str(file), "--log-level", "DEBUG", "--python", sys.executable]
    arguments += ["--set", f"odoo_path={ODOOLIKE}", *options]
    with (directory / "log").open("a") as stream:
        process = psutil.Popen(
            command(directory, *arguments), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
            env={**environment(), "ODOOLIKE": str(version)}, cwd=directory,
        )  # fmt: skip
    running = Supervised(process, directory)
    try:
        yield running
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=PATIENCE)
