"""``queuemaster stop``: end the master that a pid file names, and wait for it."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import click
from rich.console import Console

from queuemaster.cli.flags import compiled, configured, pidfile_option
from queuemaster.cli.output import warn
from queuemaster.cli.pidfile import RunningMaster, pidfile_of, running_master

INTERVAL = 0.05  # seconds


@click.command()
@pidfile_option
@configured
@click.option("--now", is_flag=True, help="Do not wait for running jobs: they run again at the next start.")
def stop(file: Path | None, assignments: tuple[str, ...], pidfile: str | None, now: bool) -> None:
    """Stop the master; running jobs may finish within graceful_timeout. Exit code 1 if none runs."""
    configuration = compiled(file, assignments, {"pidfile": pidfile})
    warn(configuration.warnings)
    master = running_master(pidfile_of(configuration))
    master.send(signal.SIGINT if now else signal.SIGTERM)  # one that has just ended is stopped, too
    _wait(master, "stopping now" if now else "waiting for running jobs")
    click.echo(f"stopped (pid {master.pid})")


def _wait(master: RunningMaster, doing: str) -> None:
    """Wait until the master has ended, without a limit: the master keeps to graceful_timeout by itself."""
    if not sys.stderr.isatty():
        while not master.gone():
            time.sleep(INTERVAL)
        return
    began = time.monotonic()
    with Console(stderr=True, highlight=False).status("") as status:
        while not master.gone():
            status.update(f"{doing}, pid {master.pid}: {time.monotonic() - began:.0f} s")
            time.sleep(INTERVAL)
