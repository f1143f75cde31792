"""The command line: one command a file. They compile, ask and report; what runs long is the master."""

from __future__ import annotations

import importlib

import click

from queuemaster import __version__
from queuemaster.cli.output import Commands

# Where each command is; imported when it is used, so that one need not wait for what the others need.
COMMANDS = {
    "run": "run",
    "init": "init",
    "uninstall": "uninstall",
    "check": "check",
    "status": "status",
    "why": "why",
    "stop": "stop",
    "reload": "reload",
    "reopen-logs": "reopen_logs",
    "jobs": "jobs",
    "channel": "channel",
    "related-action": "related_action",
    "demo": "demo",
}


class OnUse(Commands):
    """Commands whose modules are imported when somebody uses them, or asks what there is."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"queuemaster.cli.commands.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command


@click.group(cls=OnUse, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="queuemaster", message="%(prog)s %(version)s")
def main() -> None:
    """A preforking supervisor for job queues in PostgreSQL.

    Exit codes: 0 fine; 1 failed; 2 usage or configuration error.
    """
