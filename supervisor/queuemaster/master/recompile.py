"""Compile the configuration again. The command line does it in a child; the master takes the result or the error."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from queuemaster.config.compiled import MEMORY, Settings, keep_ids

# options that take effect at the start only: a pid file is locked, a user chosen, a kind of queue served
_FOR_LIFE = ("pidfile", "user", "group", "odoo", "shadow")


class Refused(Exception):
    """The new configuration cannot be used, or not without a restart; the message says why."""


@dataclass(frozen=True)
class Compilation:
    """A child that compiles. Both descriptors are anonymous files that it writes."""

    process: subprocess.Popen[bytes]
    result: int
    errors: int


def start(command: Sequence[str]) -> Compilation:
    """Start the child. ``command``: the arguments that this supervisor was started with."""
    result = os.memfd_create(MEMORY, os.MFD_CLOEXEC)
    errors = os.memfd_create("queuemaster-errors", os.MFD_CLOEXEC)
    process = subprocess.Popen(
        [sys.executable, "-m", "queuemaster", *command, "--compile-to", str(result)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, pass_fds=[result],
    )  # fmt: skip
    return Compilation(process, result, errors)


def finish(compilation: Compilation, status: int, current: Settings) -> tuple[Settings, str]:
    """The settings that replace ``current``, and warnings. Raises :class:`Refused`. Closes the descriptors."""
    messages = os.pread(compilation.errors, 65536, 0).decode(errors="replace").strip()
    try:
        if status != 0:
            raise Refused(messages or f"the compiler ended with status {status}")
        return succeeding(Settings.from_descriptor(compilation.result), current), messages
    finally:
        os.close(compilation.result)
        os.close(compilation.errors)


def succeeding(new: Settings, current: Settings) -> Settings:
    """``new`` with what a running master keeps of ``current``. Raises :class:`Refused`. Pure."""
    if (new.databases or new.odoo) and current.server is not None:
        raise Refused("databases are named now, but the embedded PostgreSQL is in use: that needs a restart")
    changed = [name for name in _FOR_LIFE if getattr(new, name) != getattr(current, name)]
    if changed:
        raise Refused(f"{', '.join(changed)} cannot change while the supervisor runs: that needs a restart")
    # without a database the embedded server stays in use; beside Odoo there may be none yet
    served = new.databases if new.databases or new.odoo else current.databases
    return replace(
        new, databases=keep_ids(served, current.databases), server=current.server, command=current.command
    )
