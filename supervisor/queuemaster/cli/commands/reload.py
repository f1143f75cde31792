"""``queuemaster reload``: have the running master take over a changed configuration and new code."""

from __future__ import annotations

import signal
from pathlib import Path

import click

from queuemaster.cli.flags import compiled, configured, pidfile_option
from queuemaster.cli.output import warn
from queuemaster.cli.pidfile import find, named


@click.command()
@pidfile_option
@configured
def reload(file: Path | None, assignments: tuple[str, ...], pidfile: str | None) -> None:
    """Tell the master to compile its configuration again and to import the application anew.

    Running jobs are not touched. If anything is wrong it goes on as it was, and its log says why.
    """
    configuration = compiled(file, assignments, {"pidfile": pidfile})
    warn(configuration.warnings)
    master = find(named(configuration))
    master.process.send_signal(signal.SIGHUP)
    click.echo(f"told to reload (pid {master.pid}); its log says what came of it")
