"""``queuemaster stop``: end the master that a pid file names, and wait for it."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import click
import psutil
from rich.console import Console

from queuemaster.cli.flags import compiled, configured, pidfile_option
from queuemaster.cli.output import Failure, warn
from queuemaster.cli.pidfile import Running, find, named

INTERVAL = 0.05


@click.command()
@pidfile_option
@configured
@click.option("--now", is_flag=True, help="Do not wait for running jobs: they run again at the next start.")
def stop(file: Path | None, assignments: tuple[str, ...], pidfile: str | None, now: bool) -> None:
    """Stop the master; running jobs may finish within graceful_timeout. Exit code 1 if none runs."""
    configuration = compiled(file, assignments, {"pidfile": pidfile})
    warn(configuration.warnings)
    path = named(configuration)
    master = find(path)
    try:
        master.process.send_signal(signal.SIGINT if now else signal.SIGTERM)
    except psutil.NoSuchProcess:
        pass  # it ended by itself just now: what was wanted
    except psutil.AccessDenied as error:
        raise Failure(f"process {master.pid} of {path} belongs to another user") from error
    _wait(master, "stopping now" if now else "waiting for running jobs")
    click.echo(f"stopped (pid {master.pid})")


def _wait(master: Running, doing: str) -> None:
    """Until it is gone: how long that may take is the master's own business."""
    if not sys.stderr.isatty():
        while not master.gone():
            time.sleep(INTERVAL)
        return
    began = time.monotonic()
    with Console(stderr=True, highlight=False).status("") as status:
        while not master.gone():
            status.update(f"{doing}, pid {master.pid}: {time.monotonic() - began:.0f} s")
            time.sleep(INTERVAL)
