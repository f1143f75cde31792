"""Checks before the master starts: the command shows at once what would otherwise stand in a log later."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from queuemaster import embedded
from queuemaster.cli.databases import require_queue, with_discovered_databases
from queuemaster.cli.odoo.checks import require_odoo
from queuemaster.cli.output import Failure, Refusal
from queuemaster.cli.privileges import acting_as, give_logfile, pwd_name
from queuemaster.config import paths
from queuemaster.config.compiled import Settings
from queuemaster.master.account import Account, UnknownAccount, account
from queuemaster.master.pidfile import AlreadyRunning, PidFileError, acquire


def preflight(settings: Settings, away: Callable[[str], None] | None = None) -> Settings:
    """The settings with the interpreter resolved and the databases found. Raises Refusal with everything wrong.

    ``away``: called with a message when the server that has the databases cannot be reached; None: that is an error.
    """
    try:
        become = account(settings.user, settings.group)
    except UnknownAccount as error:
        raise Refusal(str(error)) from error
    problems: list[str] = []

    def attempt(check: Callable[[], None]) -> None:
        try:
            check()
        except Refusal as refusal:
            problems.append(refusal.message)

    attempt(partial(require_logfile, settings.logfile))
    attempt(partial(give_logfile, settings.logfile, become))
    with acting_as(become):
        attempt(partial(require_program, settings.python))
        if settings.odoo:
            try:
                settings = with_discovered_databases(settings)
            except Refusal as refusal:
                if away is None:
                    problems.append(refusal.message)
                else:
                    away(f"{refusal.message}\n  starting without them: they are found when it is back")
        # Odoo's databases need no preparation: the dispatcher waits for one without the addon
        for database in () if settings.odoo else settings.databases:
            attempt(partial(require_queue, database))
    if settings.odoo:
        attempt(partial(require_odoo, settings, become))
    elif not settings.databases and become is not None:
        attempt(partial(require_same_user, become))
    if problems:
        raise Refusal("\n".join(problems))
    return replace(settings, python=shutil.which(settings.python) or settings.python)


def lock(path: Path) -> int:
    """Take the lock of the pid file, one master a file. Returns the descriptor that holds it."""
    try:
        return acquire(path)
    except AlreadyRunning as error:
        raise Failure(f"{error}; stop it first (queuemaster stop), or name another --pidfile") from error
    except PidFileError as error:
        raise Refusal(f"option pidfile: {error}") from error


def require_logfile(path: str) -> None:
    """Raise Refusal unless the log file can be written; its directory must exist."""
    parent = Path(path).parent
    if not path:
        return
    if not parent.is_dir():
        raise Refusal(f"option logfile = {path!r}: the directory {parent} does not exist")
    if Path(path).is_dir() or not os.access(path if Path(path).exists() else parent, os.W_OK):
        raise Refusal(f"option logfile = {path!r}: this user may not write it")


def require_same_user(become: Account) -> None:
    """Raise Refusal unless the embedded server runs as this user: its socket is open to no other."""
    data_dir = paths.default_data_dir()
    try:
        uid, _ = embedded.server_user(data_dir)
    except embedded.EmbeddedError as error:
        raise Refusal(f"embedded PostgreSQL in {data_dir}: {error}") from error
    if uid != become.uid:
        raise Refusal(
            f"option user = {become.name!r}: the embedded PostgreSQL in {data_dir} runs as {pwd_name(uid)}, and"
            f" only that user reaches it; expected user = {pwd_name(uid)}, a database named with database, or an"
            f" empty directory of {become.name} there (QUEUEMASTER_DATA_DIR)"
        )


def require_program(python: str) -> None:
    """Raise Refusal unless the interpreter exists; whether it can import the application shows in the template."""
    if python and shutil.which(python) is None:
        raise Refusal(
            f"option python = {python!r}: not an executable file; expected the application's interpreter,"
            " for instance /opt/odoo/venv/bin/python"
        )
