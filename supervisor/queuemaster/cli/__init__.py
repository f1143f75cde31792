"""The command line, one command a file. Commands compile, ask and report; only ``run`` stays, as the master."""

from __future__ import annotations

import importlib

import click

from queuemaster import __version__
from queuemaster.cli.output import Commands

# A command's module below ``commands`` and its function have the command's name, with _ for -. The module is imported
# when the command is used: each starts fast.
COMMANDS = (
    "channel",
    "check",
    "demo",
    "init",
    "jobs",
    "related-action",
    "reload",
    "reopen-logs",
    "run",
    "status",
    "stop",
    "uninstall",
    "why",
)


class ImportedOnUse(Commands):
    """Commands whose modules are imported when they are used, or listed with their help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(importlib.import_module(f"queuemaster.cli.commands.{name}"), name)
        return command


@click.group(cls=ImportedOnUse, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="queuemaster", message="%(prog)s %(version)s")
def main() -> None:
    """A preforking supervisor for job queues in PostgreSQL.

    Exit codes: 0 fine; 1 failed; 2 usage or configuration error.
    """
