"""The measured part of an estimate: the room that the servers have, and the size of the application."""

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
from queuemaster.cli.statements import SERVER_ROOM
from queuemaster.config.compiled import DatabaseConfig, Settings

IMPORT_PATIENCE = 30.0  # seconds for the application's import
_ODOO = "odoo.modules.registry"  # all that a registry imports; the registries themselves come on top
_BOOTSTRAP = Path(queuejobs.worker.__file__).with_name("bootstrap.py")


def read_servers(databases: Iterable[DatabaseConfig]) -> list[Server]:
    """The servers that answer, each with its databases among these."""
    servers: dict[str, Server] = {}
    for database in databases:
        try:
            connection = connect(database.dsn, "queuemaster command", connect_timeout=PATIENCE)
        except psycopg2.Error:  # read_overrides has said so
            continue
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(SERVER_ROOM)
                identity, most, reserved, in_use = cursor.fetchone() or ("", 0, 0, 0)
        finally:
            connection.close()
        names = (*servers[identity].databases, database.name) if identity in servers else (database.name,)
        servers[identity] = Server(names, most, reserved, in_use)
    return list(servers.values())


def measure_memory(settings: Settings) -> Memory:
    """The size of an interpreter with the application imported, in a process of its own."""
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
            return Memory(BARE, False, "the application's interpreter ended without an answer")
        measured = json.loads(text)
        if "error" in measured:
            return Memory(BARE, False, f"the application cannot be imported: {measured['error']}")
        return Memory(measured["resident"], True)
    process.kill()
    return Memory(BARE, False, f"importing the application takes longer than {IMPORT_PATIENCE:g} s")
