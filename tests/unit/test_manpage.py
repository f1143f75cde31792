"""The manual page has every command and every option, and roff accepts it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from queuemaster.cli import main
from queuemaster.config.options import Options
from support.programs import program

PAGE = Path(__file__).parents[2] / "docs" / "queuemaster.1"
TEXT = PAGE.read_text().replace("\\-", "-")


def commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


@pytest.mark.parametrize(("path", "command"), list(commands(main, "queuemaster")))
def test_every_option_of_a_command_stands_below_it(path: str, command: click.Command) -> None:
    section = re.search(rf"^\.SS {path} (.*?)(?=^\.S[SH] )", TEXT, re.MULTILINE | re.DOTALL)
    assert section is not None, f"{path} is missing: run `make man`"
    bold = "\n".join(re.findall(r"^\.B (.*)$", section[1], re.MULTILINE))
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            for flag in (*parameter.opts, *parameter.secondary_opts):
                assert re.search(rf"(^|\s){re.escape(flag)}\b", bold, re.MULTILINE), (
                    f"{path} {flag} is missing: `make man`"
                )


def test_every_option_of_the_configuration_and_nothing_else() -> None:
    section = TEXT.partition(".SH CONFIGURATION\n")[2].partition(".SH ENVIRONMENT")[0]
    named = re.findall(r"^\.TP\n\.B (\w+)$", section, re.MULTILINE)
    assert named == list(Options.model_fields), "run `make man`"


def test_roff_finds_nothing_to_complain_about() -> None:
    groff = program("groff", "groff-base")
    result = subprocess.run(
        [groff, "-man", "-Tutf8", "-ww", "-z", str(PAGE)], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
