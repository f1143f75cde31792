"""``queuemaster jobs``: look at the jobs in the queues, and change them."""

from __future__ import annotations

import click

from queuemaster.cli.commands.jobs.change import cancel, done, requeue
from queuemaster.cli.commands.jobs.list import list_
from queuemaster.cli.commands.jobs.purge import purge
from queuemaster.cli.commands.jobs.show import show
from queuemaster.cli.output import Commands


@click.group(cls=Commands)
def jobs() -> None:
    """Look at and change the jobs of the databases named or configured.

    None named: those of the supervisor that runs here, else the embedded PostgreSQL.
    """


for _command in (list_, show, requeue, cancel, done, purge):
    jobs.add_command(_command)
