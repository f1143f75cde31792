"""The command line: one command a file. They compile, ask and report; what runs long is the master."""

from __future__ import annotations

import click

from queuemaster import __version__
from queuemaster.cli.actions import cancel, done, requeue
from queuemaster.cli.channel import channel
from queuemaster.cli.check import check
from queuemaster.cli.demo import demo
from queuemaster.cli.init import init
from queuemaster.cli.jobs import jobs
from queuemaster.cli.output import Commands
from queuemaster.cli.purge import purge
from queuemaster.cli.related import related_action
from queuemaster.cli.reload import reload
from queuemaster.cli.reopen_logs import reopen_logs
from queuemaster.cli.run import run
from queuemaster.cli.status import status
from queuemaster.cli.stop import stop
from queuemaster.cli.uninstall import uninstall
from queuemaster.cli.why import why


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="queuemaster", message="%(prog)s %(version)s")
def main() -> None:
    """A preforking supervisor for job queues in PostgreSQL.

    Exit codes: 0 fine; 1 failed; 2 usage or configuration error.
    """


for command in (
    run,
    init,
    uninstall,
    check,
    status,
    why,
    stop,
    reload,
    reopen_logs,
    jobs,
    channel,
    related_action,
    demo,
):
    main.add_command(command)
for command in (requeue, cancel, done, purge):
    jobs.add_command(command)
