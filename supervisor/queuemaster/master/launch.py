"""How a process of a role is exec'd: which interpreter, what it inherits, as whom."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import queuejobs.worker
from queuemaster.config.compiled import Settings

from .account import Account
from .events import Role

_BOOTSTRAP = Path(queuejobs.worker.__file__).with_name("bootstrap.py")


def launch(
    role: Role,
    settings: Settings,
    settings_fd: int,
    board_fd: int,
    control: socket.socket,
    become: Account | None,
) -> subprocess.Popen[bytes]:
    """Start it with its end of the control socket; it arms its parent-death signal itself, being who it will be."""
    given = {"control": control.fileno(), "settings": settings_fd, "master": os.getpid()}
    environment = {**os.environ, **(become.environment() if become else {})}
    if role in (Role.TEMPLATE, Role.SUCCESSOR):
        command = [settings.python or sys.executable, str(_BOOTSTRAP)]
        given["scoreboard"] = board_fd
        # it keeps our own working directory off our path; the application's is the application's business
        environment.pop("PYTHONSAFEPATH", None)
    else:
        command = [sys.executable, "-m", f"queuemaster.{role.value}"]
    for name, value in given.items():
        command += [f"--{name}", str(value)]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        pass_fds=[given[name] for name in ("control", "settings", "scoreboard") if name in given],
        env=environment,
        start_new_session=False,
        user=become.uid if become else None,
        group=become.gid if become else None,
        extra_groups=become.groups if become else None,
    )
