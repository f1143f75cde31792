"""The output of the commands: results on stdout, everything else on stderr; exit codes 1 and 2; questions."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import IO, Any

import click
from rich.console import Console

from queuemaster.config.option_values import ConfigurationError

WIDE = 100_000  # columns where the output is no terminal: a program that reads it wants whole lines


class Failure(click.ClickException):
    """The command is right, but did not succeed: exit code 1."""

    exit_code = 1

    def show(self, file: IO[Any] | None = None) -> None:
        """Each line of the message on stderr, with the program's name."""
        for line in self.message.splitlines():
            click.echo(f"queuemaster: {line}", err=True)


class Refusal(Failure):
    """The usage or the configuration is wrong: exit code 2."""

    exit_code = 2


class Declined(Failure):
    """The person at the terminal answered a question with no."""


class Commands(click.Group):
    """A group of commands that shows a faulty configuration as a message without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Raises Refusal for a faulty configuration."""
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            raise Refusal(str(error)) from error


def warn(messages: Iterable[str]) -> None:
    """Warnings, one line each."""
    for message in messages:
        click.echo(f"queuemaster: warning: {message}", err=True)


def note(message: str) -> None:
    """Say something on stderr: for people, not for programs."""
    click.echo(f"queuemaster: {message}", err=True)


def confirmation(yes: bool) -> Callable[[str], None]:
    """A function that asks the person at the terminal; it raises :class:`Declined` for a "no".

    With ``yes`` (the flag ``--yes``), or without a terminal, nothing is asked.
    """

    def ask(question: str) -> None:
        if not yes and sys.stdin.isatty() and not click.confirm(question, err=True):
            raise Declined("nothing was changed")

    return ask


def print_json(document: object) -> None:
    """The one JSON document of ``--json``."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def console() -> Console:
    """Standard output: colours and folding on a terminal, plain whole lines elsewhere."""
    if sys.stdout.isatty():
        return Console(highlight=False, markup=False, emoji=False)
    return Console(highlight=False, markup=False, emoji=False, no_color=True, width=WIDE)


def printable(text: object) -> str:
    """Data of jobs for a terminal, with its escape sequences made visible instead of acting on the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in str(text))
