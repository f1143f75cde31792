"""``queuemaster run``: compile the configuration, check that it can work, become the master.

The master is exec'd in this very process: so its pid is that of the command, which a shell or a service manager
watches, and an embedded PostgreSQL that was started here stays its child.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import click

from queuemaster import embedded
from queuemaster.cli.databases import embedded_database, upgrade, with_discovered_databases
from queuemaster.cli.flags import channels_option, compiled, configured, databases_option, pidfile_option
from queuemaster.cli.odoo.checks import advice
from queuemaster.cli.output import Failure, Refusal, note, warn
from queuemaster.cli.privileges import require_private_file
from queuemaster.cli.start.daemon import detach, require_log
from queuemaster.cli.start.preflight import lock, preflight
from queuemaster.config import paths
from queuemaster.config.compiled import ServerPlan, Settings
from queuemaster.config.sources import Compiled
from queuemaster.embedded.server import postmaster
from queuemaster.master import register
from queuemaster.shadow.watch import watch

START_TIMEOUT = 60.0  # seconds, for the embedded server
EXIT_TERMINATED = 128 + signal.SIGTERM
# signals that mean something to the master, and would end this command
_OF_THE_MASTER = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU)
TAKE_OVER_TIMEOUT = 15.0  # seconds, for the server of a master that was killed to end


@click.command()
@configured
@databases_option
@click.option("--app", metavar="MODULE", multiple=True, help="A module that registers models; repeatable.")
@click.option(
    "--python",
    metavar="PATH",
    help="The application's interpreter. Default: Odoo's beside Odoo, else this one.",
)
@channels_option
@click.option(
    "--http", metavar="HOST:PORT", help="Metrics and health there; '' for nowhere. Default: 127.0.0.1:8079."
)
@pidfile_option
@click.option("--logfile", metavar="FILE", help="Log there. Default: standard error.")
@click.option("--log-format", metavar="text|json", help="The form of a log line. Default: text.")
@click.option("--log-level", metavar="LEVEL", help="The least level that is logged. Default: INFO.")
@click.option("--log-handler", metavar="LOGGER:LEVEL", multiple=True, help="For one logger; repeatable.")
@click.option(
    "--daemon", is_flag=True, help="Go into the background; return when it is ready. Needs a log file."
)
@click.option(
    "--shadow",
    is_flag=True,
    help="Beside Odoo: start nothing, only report where the stock runner decides otherwise.",
)
@click.option("--compile-to", type=int, hidden=True)
def run(
    file: Path | None,
    assignments: tuple[str, ...],
    daemon: bool,
    shadow: bool,
    compile_to: int | None,
    **flags: str | tuple[str, ...] | None,
) -> None:
    """Run the supervisor, in the foreground, until it is stopped.

    With --daemon the command returns when the application is imported and each database was tried.
    """
    # without a handler SIGTERM does not end the first process of a container
    signal.signal(signal.SIGTERM, lambda _signum, _frame: sys.exit(EXIT_TERMINATED))
    require_private_file(file)
    configuration = compiled(file, assignments, {**flags, "shadow": "yes" if shadow else None})
    warn(configuration.warnings)
    if daemon:
        require_log(configuration.settings.logfile)
    for text in configuration.notes:
        note(text)
    if compile_to is not None:  # a running master reloads and wants the new settings
        compile_again(configuration, compile_to)
        return
    if configuration.off:
        note(
            "switched off: the channel root has capacity 0, so there is nothing to run"
            + _off_here(configuration)
        )
        return
    if configuration.settings.shadow:
        watch(with_discovered_databases(configuration.settings), note)
        return
    settings = replace(preflight(configuration.settings, away=note), command=tuple(sys.argv[1:]))
    _advise(configuration, settings)
    leave_terminal = detach(Path(settings.logfile)) if daemon else keep_terminal
    # from the pid file others know us: signals for the master would end us until it has its handlers
    signal.pthread_sigmask(signal.SIG_BLOCK, _OF_THE_MASTER)
    pidfile_fd = lock(Path(settings.pidfile))
    register.outwait(register.path_beside(Path(settings.pidfile)), settings.graceful_timeout, note)
    if settings.databases or settings.odoo:
        become_master(settings, pidfile_fd, leave_terminal)
    run_embedded(settings, pidfile_fd, leave_terminal)


def keep_terminal() -> None:
    """Stay in the foreground: there is nothing to do."""


def _advise(configuration: Compiled, settings: Settings) -> None:
    """Beside Odoo: warn of what should be changed in its databases."""
    if settings.odoo:
        warn(advice(settings, configuration.channels_given))


def _off_here(configuration: Compiled) -> str:
    """A hint beside Odoo, where root:0 is often meant to switch off the other runner."""
    if not configuration.settings.odoo:
        return ""
    source = next(value.source for value in configuration.values if value.option == "channels")
    return (
        f" (from {source})\n  to switch off the stock runner alone, give Odoo's service"
        " ODOO_QUEUE_JOB_CHANNELS=root:0 in its environment, and this one QUEUEMASTER_CHANNELS or --channels"
    )


def compile_again(configuration: Compiled, fd: int) -> None:
    """Write the settings for a running master. Raises what a start would raise, and for a capacity 0 of root."""
    if configuration.off:
        raise Refusal("the channel root has capacity 0, which switches everything off: stop it instead")
    settings = preflight(configuration.settings)
    _advise(configuration, settings)
    with os.fdopen(fd, "w") as stream:
        stream.write(settings.to_json())


def run_embedded(settings: Settings, pidfile_fd: int, leave_terminal: Callable[[], None]) -> NoReturn:
    """Become the master, with the embedded PostgreSQL, which is started first."""
    data_dir = paths.default_data_dir()
    try:
        plan = attach_or_start(data_dir)
    except embedded.EmbeddedError as error:
        raise Refusal(f"embedded PostgreSQL in {data_dir}: {error}") from error
    try:
        database = embedded_database(plan)
        upgrade(database)
        # this DSN contains no password
        note(f"embedded PostgreSQL in {data_dir}: applications connect to {database.dsn!r}")
        served = replace(settings, databases=(database,), server=plan if plan.pid else None)
        become_master(served, pidfile_fd, leave_terminal)
    except embedded.EmbeddedError as error:
        raise Refusal(f"embedded PostgreSQL in {data_dir}: {error}") from error
    finally:
        # only reached when this process could not become the master
        if plan.pid:
            embedded.stop(plan.pid, START_TIMEOUT)


def attach_or_start(data_dir: Path, patience: float = TAKE_OVER_TIMEOUT) -> ServerPlan:
    """The running server of the data directory (pid 0: not our child), else one that is started as our child."""
    deadline = time.monotonic() + patience
    while (server := postmaster(data_dir)) is not None:
        # the server of a master that was killed is stopping: it cannot be used, but its end is waited for
        plan = embedded.attached(data_dir)
        if plan is not None:
            note(f"using the server that already runs in {data_dir}; it is not restarted if it ends")
            return replace(plan, pid=0)
        if time.monotonic() > deadline:
            raise Failure(
                f"the server in {data_dir} (process {server.pid}, {server.status}) takes no connections"
            )
        time.sleep(0.1)
    plan = embedded.prepare(data_dir)
    process = embedded.start(plan)
    embedded.wait_ready(plan, process, START_TIMEOUT)
    return replace(plan, pid=process.pid)


def become_master(settings: Settings, pidfile_fd: int, leave_terminal: Callable[[], None]) -> NoReturn:
    """Replace this process by the master, which inherits the settings, the pid file and our children.

    ``leave_terminal`` is called last: until then errors are shown on the terminal.
    """
    settings_fd = settings.to_descriptor()
    for fd in (settings_fd, pidfile_fd):
        os.set_inheritable(fd, True)
    sys.stdout.flush()
    sys.stderr.flush()
    leave_terminal()
    descriptors = ["--settings-fd", str(settings_fd), "--pidfile-fd", str(pidfile_fd)]
    # the current directory must not provide modules of the service
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    # signals that arrive before the master has its handlers wait for them
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGCHLD))
    os.execve(sys.executable, [sys.executable, "-m", "queuemaster.master", *descriptors], environment)
