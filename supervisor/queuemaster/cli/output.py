"""What the commands say, and where: results on stdout, everything else on stderr; exit codes 1 and 2."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import IO, Any

import click
from rich.console import Console

from queuemaster.config.option_values import ConfigurationError

WIDE = 100_000  # columns of what is no terminal: whoever reads a pipe wants whole lines


class Failure(click.ClickException):
    """It was understood and did not succeed: exit code 1."""

    exit_code = 1

    def show(self, file: IO[Any] | None = None) -> None:
        """Each line of the message on stderr, with the program's name."""
        for line in self.message.splitlines():
            click.echo(f"queuemaster: {line}", err=True)


class Refusal(Failure):
    """The usage or the configuration is wrong: exit code 2."""

    exit_code = 2


class Commands(click.Group):
    """The group that turns what people can mend into a message without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a faulty configuration is a refusal."""
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            raise Refusal(str(error)) from error


def warn(messages: Iterable[str]) -> None:
    """Warnings, one line each."""
    for message in messages:
        click.echo(f"queuemaster: warning: {message}", err=True)


def note(message: str) -> None:
    """What a person who watches may want to know, and no program."""
    click.echo(f"queuemaster: {message}", err=True)


def print_json(document: object) -> None:
    """The one JSON document of ``--json``."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def console() -> Console:
    """Standard output: colours and folding on a terminal, plain whole lines elsewhere."""
    if sys.stdout.isatty():
        return Console(highlight=False, markup=False, emoji=False)
    return Console(highlight=False, markup=False, emoji=False, no_color=True, width=WIDE)


def printable(text: object) -> str:
    """Data of jobs for a terminal: no escape sequence in it may act on the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in str(text))
