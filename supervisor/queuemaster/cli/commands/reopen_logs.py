"""``queuemaster reopen-logs``: close the old log file at once after a rotation."""

from __future__ import annotations

import signal
from pathlib import Path

import click

from queuemaster.cli.flags import compiled, configured, pidfile_option
from queuemaster.cli.output import warn
from queuemaster.cli.pidfile import pidfile_of, running_master


@click.command("reopen-logs")
@pidfile_option
@configured
def reopen_logs(file: Path | None, assignments: tuple[str, ...], pidfile: str | None) -> None:
    """Make the master open its log file anew, for logrotate. Exit code 1 if no master runs."""
    configuration = compiled(file, assignments, {"pidfile": pidfile})
    warn(configuration.warnings)
    master = running_master(pidfile_of(configuration))
    if not master.send(signal.SIGUSR1):
        raise master.just_ended()
    click.echo(f"reopening the log file (pid {master.pid})")
