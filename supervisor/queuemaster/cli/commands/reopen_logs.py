"""``queuemaster reopen-logs``: after a rotation, let go of the old file at once."""

from __future__ import annotations

import signal
from pathlib import Path

import click
import psutil

from queuemaster.cli.flags import compiled, configured, pidfile_option
from queuemaster.cli.output import Failure, warn
from queuemaster.cli.pidfile import find, named


@click.command("reopen-logs")
@pidfile_option
@configured
def reopen_logs(file: Path | None, assignments: tuple[str, ...], pidfile: str | None) -> None:
    """Have the log file opened anew, for logrotate. Exit code 1 if no master runs."""
    configuration = compiled(file, assignments, {"pidfile": pidfile})
    warn(configuration.warnings)
    path = named(configuration)
    master = find(path)
    try:
        master.process.send_signal(signal.SIGUSR1)
    except psutil.NoSuchProcess as error:
        raise Failure(f"not running: the master of {path} has just ended") from error
    except psutil.AccessDenied as error:
        raise Failure(f"process {master.pid} of {path} belongs to another user") from error
    click.echo(f"reopening the log file (pid {master.pid})")
