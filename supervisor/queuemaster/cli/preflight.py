"""What must be true before the master starts: better said now, by the command, than later in a log."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from queuemaster.cli import pidfile
from queuemaster.cli.databases import require_queue
from queuemaster.cli.output import Failure, Refusal
from queuemaster.config.compiled import Settings
from queuemaster.config.sources import default_pidfile


def preflight(settings: Settings) -> Settings:
    """The settings with the interpreter resolved. Raises Refusal with all that is wrong."""
    own = default_pidfile(os.environ)
    if Path(settings.pidfile) == own:
        own.parent.mkdir(parents=True, exist_ok=True)
    refuse_second(Path(settings.pidfile))
    problems: list[str] = []

    def attempt(check: Callable[[], None]) -> None:
        try:
            check()
        except Refusal as refusal:
            problems.append(refusal.message)

    attempt(lambda: require_directory("pidfile", settings.pidfile))
    attempt(lambda: require_directory("logfile", settings.logfile))
    attempt(lambda: require_program(settings.python))
    for database in settings.databases:
        attempt(lambda database=database: require_queue(database))  # type: ignore[misc]
    if problems:
        raise Refusal("\n".join(problems))
    return replace(settings, python=shutil.which(settings.python or sys.executable) or settings.python)


def refuse_second(path: Path) -> None:
    """One master a pid file."""
    try:
        running = pidfile.find(path)
    except Refusal:
        raise
    except Failure:
        return  # none runs: as it should be
    raise Failure(f"already running: pid {running.pid}, by {path}; stop it first, or name another --pidfile")


def require_directory(option: str, path: str) -> None:
    """A file to write needs its directory."""
    parent = Path(path).parent
    if not path:
        return
    if not parent.is_dir():
        raise Refusal(f"option {option} = {path!r}: the directory {parent} does not exist")
    if Path(path).is_dir() or not os.access(path if Path(path).exists() else parent, os.W_OK):
        raise Refusal(f"option {option} = {path!r}: this user may not write it")


def require_program(python: str) -> None:
    """The application's interpreter must be there; what it can import shows when the template starts."""
    if python and shutil.which(python) is None:
        raise Refusal(
            f"option python = {python!r}: not an executable file; expected the application's interpreter,"
            " for instance /opt/odoo/venv/bin/python"
        )
