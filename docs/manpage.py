"""Prints queuemaster(1): `make man` writes it to docs/queuemaster.1. Commands and options are those of ``--help``."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from queuemaster import __version__
from queuemaster.cli import main
from queuemaster.config.options import Options

HEAD = r""".\" written by docs/manpage.py: change the help of the commands, then run `make man`
.TH QUEUEMASTER 1 "" "queuemaster {version}" "User Commands"
.SH NAME
queuemaster \- a preforking supervisor for job queues in PostgreSQL
.SH SYNOPSIS
.B queuemaster
.I COMMAND
.RI [ OPTION ...]
.SH DESCRIPTION
It reads a tree of channels, keeps a pool of worker processes for each, and gives them jobs from PostgreSQL databases
without ever exceeding the capacity of a channel. A job's writes and its "done" are one commit: the job of a worker that
is killed leaves nothing behind, and runs again.
.SH COMMANDS
"""
TAIL = r""".SH CONFIGURATION
Each of these options may stand in the section
.B [queue_job]
of the file named with
.BR \-c ,
in the environment as
.BI QUEUEMASTER_ OPTION\fR,
or behind
.BR \-\-set .
The command line is stronger than the environment, the environment than the file.
.B queuemaster check
shows the values in force, and where each comes from.
.PP
{options}
.SH ENVIRONMENT
.TP
.BI QUEUEMASTER_ OPTION
Any option, in capitals.
.TP
.B QUEUEMASTER_DATA_DIR
Where the embedded PostgreSQL keeps its data.
.TP
.B QUEUEMASTER_PG_BINDIR
Where its programs are.
.TP
.B NOTIFY_SOCKET, WATCHDOG_USEC
As systemd sets them: readiness, status and signs of life are sent there.
.SH SIGNALS
To the master, whose process id is in the pid file.
.TP
.B TERM
Running jobs may finish within
.BR graceful_timeout ,
then it ends; a second one, INT or QUIT: at once.
.TP
.B HUP
Take over a changed configuration and new code of the application.
.TP
.B USR1
Open the log file anew.
.TP
.B USR2
Write a full report to the log.
.TP
.B TTIN, TTOU
One slot of root more or less, until the next reload.
.SH FILES
.TP
.I /etc/queuemaster/queuemaster.conf
The configuration of the service, as it is installed.
.TP
.I /run/queuemaster/queuemaster.pid
The pid file of the service; without one, root's is
.IR /run/queuemaster.pid .
.TP
.I /var/log/queuemaster/queuemaster.log
The log of the service started by its init script; the unit logs to the journal unless
.B logfile
is set.
.TP
.I /var/lib/queuemaster
The data of the embedded PostgreSQL.
.SH EXIT STATUS
.TP
.B 0
fine
.TP
.B 1
failed
.TP
.B 2
usage or configuration error, with a message on standard error
.SH SEE ALSO
.BR systemctl (1),
.BR logrotate (8),
and the pages in
.IR share/doc/queuemaster .
"""


def escaped(text: str) -> str:
    """For roff: a minus that can be copied, no backslash, no line that is taken for a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(f"\\&{line}" if line[:1] in ("'", ".") else line for line in text.splitlines())


def commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    """All of them in the order of the help, those of groups behind their group's name."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        elif not command.hidden:
            yield f"{path} {name}", command


def described(path: str, command: click.Command) -> Iterator[str]:
    """One command: how it is called, what it does, its options."""
    context = click.Context(command, info_name=path)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    yield f".SS {escaped(usage)}"
    yield "\n.PP\n".join(escaped(" ".join(part.split())) for part in (command.help or "").split("\n\n"))
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is not None and isinstance(parameter, click.Option):
            flags, words = record
            yield f".TP\n.B {escaped(flags)}\n{escaped(words)}"


def page() -> str:
    """The whole of it."""
    body = "\n".join(
        line for path, command in commands(main, "queuemaster") for line in described(path, command)
    )
    options = "\n".join(
        f".TP\n.B {name}\n{escaped(field.description or '')}" for name, field in Options.model_fields.items()
    )
    return HEAD.format(version=__version__) + body + "\n" + TAIL.replace("{options}", options)


if __name__ == "__main__":
    sys.stdout.write(page())
