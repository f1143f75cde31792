"""What ``check --explain`` asks of the world: the servers' connections, the size of the application."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import psycopg2

import queuejobs.worker
from queuejobs.store.connection import connect
from queuemaster.cli.estimate.sizing import BARE, Memory, Server
from queuemaster.cli.live_limits import PATIENCE
from queuemaster.config.compiled import DatabaseConfig, Settings

IMPORT_PATIENCE = 30.0  # seconds for the application's import
_ODOO = "odoo.modules.registry"  # what a registry needs; the registries themselves come on top
_BOOTSTRAP = Path(queuejobs.worker.__file__).with_name("bootstrap.py")

# One row: which server it is, its limits, and the sessions of other programs than ours.
_ROOM = """
select pg_postmaster_start_time()::text || ' ' || current_setting('port'),
       current_setting('max_connections')::integer, current_setting('superuser_reserved_connections')::integer,
       (select count(*) from pg_stat_activity
         where datid is not null and coalesce(application_name, '') not like 'queuemaster%')
"""


def servers(databases: Iterable[DatabaseConfig]) -> list[Server]:
    """The servers that can be asked, each with those of the databases that lie on it."""
    found: dict[str, Server] = {}
    for database in databases:
        try:
            connection = connect(database.dsn, "queuemaster command", connect_timeout=PATIENCE)
        except psycopg2.Error:  # that it cannot be reached has been said with its live limits
            continue
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(_ROOM)
                identifier, most, reserved, in_use = cursor.fetchone() or ("", 0, 0, 0)
        finally:
            connection.close()
        names = (*found[identifier].databases, database.name) if identifier in found else (database.name,)
        found[identifier] = Server(names, most, reserved, in_use)
    return list(found.values())


def memory(settings: Settings) -> Memory:
    """Of an interpreter of the application, with the application imported, in a process of its own."""
    receive, send = os.pipe()
    modules = (_ODOO,) if settings.odoo else settings.app
    command = [settings.python or sys.executable, str(_BOOTSTRAP), "footprint", str(send), *modules]
    path = os.pathsep.join(filter(None, (settings.odoo_path, os.environ.get("PYTHONPATH", ""))))
    environment = {**os.environ, **({"PYTHONPATH": path} if settings.odoo_path else {})}
    with os.fdopen(receive) as answer:
        try:
            try:
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    pass_fds=[send], env=environment,
                )  # fmt: skip
            finally:
                os.close(send)
        except OSError as error:
            return Memory(BARE, False, f"{command[0]} cannot be started: {error.strerror}")
        with process:
            return _answer(process, answer.fileno())


def _answer(process: subprocess.Popen[bytes], descriptor: int) -> Memory:
    deadline, text = time.monotonic() + IMPORT_PATIENCE, b""
    while select.select([descriptor], [], [], max(deadline - time.monotonic(), 0.0))[0]:
        if part := os.read(descriptor, 4096):
            text += part
            continue
        if not text:
            return Memory(BARE, False, "the application's interpreter ended without a word")
        said = json.loads(text)
        if "error" in said:
            return Memory(BARE, False, f"the application cannot be imported: {said['error']}")
        return Memory(said["resident"], True)
    process.kill()
    return Memory(BARE, False, f"importing the application takes longer than {IMPORT_PATIENCE:g} s")
