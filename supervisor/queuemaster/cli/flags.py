"""Flags that several commands share, and the configuration compiled from them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from queuemaster.config.sources import Compiled, compile_settings

Command = TypeVar("Command", bound=Callable[..., Any])


def configured(command: Command) -> Command:
    """The flags ``-c`` and ``--set``, for every command that reads the configuration."""
    command = click.option(
        "--set", "assignments", metavar="OPTION=VALUE", multiple=True, help="Set any option; repeatable."
    )(command)
    return click.option(
        "-c",
        "--config",
        "file",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="INI file with a section [queue_job], for instance odoo.conf.",
    )(command)


def databases_option(command: Command) -> Command:
    """The flag ``--database``, repeatable."""
    return click.option(
        "--database",
        metavar="DSN",
        multiple=True,
        help="A database: name, URI or keywords; repeatable. Default: as configured (option database).",
    )(command)


channels_option = click.option("--channels", metavar="STR", help="The channel tree, e.g. root:4,mail:2.")
pidfile_option = click.option(
    "--pidfile",
    metavar="FILE",
    help="The pid file. Default: /run/queuemaster.pid for root, else queuemaster.pid in $XDG_RUNTIME_DIR,"
    " or in the data directory without that.",
)


def compiled(
    file: Path | None, assignments: Sequence[str], flags: Mapping[str, str | Sequence[str] | None]
) -> Compiled:
    """Compile the configuration of a command. ``flags``: by option; None or empty where a flag was not used."""
    texts = {}
    for option, value in flags.items():
        if isinstance(value, str):
            texts[option] = value
        elif value:
            texts[option] = "\n".join(value)  # every option that is repeatable splits at newlines
    return compile_settings(file, texts, assignments, os.environ)
