"""The command line, called in this process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from click.testing import CliRunner, Result

from queuemaster.cli import main


def invoke(
    *arguments: str | Path | int, stdin: str | None = None, env: Mapping[str, str | None] | None = None
) -> Result:
    """``queuemaster ARGUMENTS…``: its exit code and what it printed. ``env`` sets variables, None unsets one."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments], input=stdin, env=env)
