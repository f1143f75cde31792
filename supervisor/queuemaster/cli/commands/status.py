"""``queuemaster status``: the state of the supervisor that runs here, once or (``--watch``) continuously."""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import replace
from pathlib import Path

import click
from rich.live import Live

from queuemaster.cli.flags import compiled, configured, pidfile_option
from queuemaster.cli.output import Failure, Refusal, console, print_json, warn
from queuemaster.cli.pidfile import RunningMaster, pidfile_of, running_master
from queuemaster.cli.status_document import RunningJobNames, status_document
from queuemaster.cli.status_view import view
from queuemaster.cli.supervisor import Supervisor, settings_of, supervisor_of
from queuemaster.status_board import NoStatus

INTERVAL = 1.0  # seconds between two refreshes; the board is not written more often


@click.command()
@pidfile_option
@configured
@click.option("--watch", is_flag=True, help="Show it on the whole screen, every second, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def status(
    file: Path | None, assignments: tuple[str, ...], pidfile: str | None, watch: bool, as_json: bool
) -> None:
    """Show the supervisor that runs here: its processes, databases, channels, and the jobs of its workers.

    Exit codes: 0 it runs; 1 it does not; 2 usage or configuration error.
    """
    if watch and (as_json or not sys.stdout.isatty()):
        raise Refusal("--watch needs a terminal; for programs: queuemaster status --json")
    configuration = compiled(file, assignments, {"pidfile": pidfile})
    warn(configuration.warnings)
    try:
        master = running_master(pidfile_of(configuration))
        supervisor = _supervisor(master)
    except Failure as failure:
        if as_json:
            print_json({"running": False, "reason": failure.message})
        raise
    with contextlib.closing(RunningJobNames(supervisor.settings.databases)) as names:
        if watch:
            _watch(master, supervisor, names)
            return
        document = status_document(supervisor, names.of)
    if as_json:
        print_json(document)
    else:
        out = console()
        out.print(view(document, out.width))


def _supervisor(master: RunningMaster) -> Supervisor:
    try:
        return supervisor_of(master.pid)
    except NoStatus as problem:
        raise Failure(str(problem)) from problem


def _watch(master: RunningMaster, supervisor: Supervisor, names: RunningJobNames) -> None:
    """Show it until Ctrl-C, or until the master has ended, which is a failure."""
    out = console()
    with contextlib.suppress(KeyboardInterrupt), Live(console=out, screen=True, auto_refresh=False) as live:
        while not master.gone():
            # while the master reloads, or when it has just ended, the settings known so far will do
            with contextlib.suppress(NoStatus):
                supervisor = replace(supervisor, settings=settings_of(master.pid))
                names.serve(supervisor.settings.databases)
            document = status_document(supervisor, names.of)
            lines = len(document["processes"]) + len(document["databases"]) + len(document["channels"]) + 9
            live.update(view(document, out.width, max(out.height - lines, 1)), refresh=True)
            time.sleep(INTERVAL)
        raise Failure(f"the master {master.pid} has ended")
