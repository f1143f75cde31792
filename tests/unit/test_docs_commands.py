"""The program understands every command line in README and docs/: command, options, number of arguments."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from queuemaster.cli import main

ROOT = Path(__file__).parents[2]
PAGES = {path.name: path.read_text() for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]}
# not the init script, which has its own arguments
LINE = re.compile(r"^\$ (?:sudo (?:-u \w+ )?)?(?!\S*init\.d/)(?:\S*/)?queuemaster (.*)$", re.MULTILINE)
LINES = [(page, line) for page, text in PAGES.items() for line in LINE.findall(text)]


def understood(words: list[str]) -> click.Context:
    """The click context of the command line; raises click's error for a wrong one."""
    command: click.Command = main
    context = click.Context(main, info_name="queuemaster")
    while isinstance(command, click.Group) and words:
        name, *words = words
        subcommand = command.get_command(context, name)
        if subcommand is None:
            raise click.UsageError(f"no command {name}")
        command = subcommand
        context = click.Context(command, info_name=name, parent=context)
    command.parse_args(context, words)
    return context


def words_of(line: str) -> list[str]:
    """The words of the line without its comment, redirection, and the part after a pipe."""
    words = shlex.split(line, comments=True)
    ends = [words.index(mark) for mark in ("|", ">", "2>", "&", "&&", ";") if mark in words]
    return words[: min(ends, default=len(words))]


@pytest.mark.parametrize(("page", "line"), LINES)
def test_a_command_line_is_understood(page: str, line: str) -> None:
    try:
        understood(words_of(line))
    except click.UsageError as error:
        pytest.fail(f"{page}: queuemaster {line}: {error.format_message()}")


def test_command_lines_are_found_and_wrong_ones_are_seen() -> None:
    assert len(LINES) > 20
    assert {"README.md", "odoo.md"} <= {page for page, _ in LINES}
    for wrong in ("rum", "run --chanels root:1", "jobs show", "check extra"):
        with pytest.raises(click.UsageError):
            understood(words_of(wrong))
