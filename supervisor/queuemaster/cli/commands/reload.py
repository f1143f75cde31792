"""``queuemaster reload``: make the running master use a changed configuration and new code."""

from __future__ import annotations

import signal
from pathlib import Path

import click

from queuemaster.cli.flags import compiled, configured, pidfile_option
from queuemaster.cli.output import warn
from queuemaster.cli.pidfile import pidfile_of, running_master


@click.command()
@pidfile_option
@configured
def reload(file: Path | None, assignments: tuple[str, ...], pidfile: str | None) -> None:
    """Tell the master to compile its configuration again and to import the application anew.

    Running jobs are not touched. If anything is wrong, the master goes on as before, and its log says why.
    """
    configuration = compiled(file, assignments, {"pidfile": pidfile})
    warn(configuration.warnings)
    master = running_master(pidfile_of(configuration))
    if not master.send(signal.SIGHUP):
        raise master.just_ended()
    click.echo(f"told to reload (pid {master.pid}); its log says what came of it")
