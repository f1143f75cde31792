"""How a process of a role is exec'd (which interpreter, what it inherits, as whom), and how a group is signalled."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import queuejobs.worker
from queuemaster.config.compiled import Settings

from .account import Account
from .core.events import Role

# which shared memory each role inherits
_SHARED = {
    Role.TEMPLATE: ("scoreboard",),
    Role.SUCCESSOR: ("scoreboard",),
    Role.DISPATCHER: ("status",),
    Role.EXPORTER: ("scoreboard", "status"),
}
_BOOTSTRAP = Path(queuejobs.worker.__file__).with_name("bootstrap.py")


def launch(
    role: Role,
    settings: Settings,
    settings_fd: int,
    shared: Mapping[str, int],
    control: socket.socket,
    become: Account | None,
) -> subprocess.Popen[bytes]:
    """Start the process. It arms its parent-death signal itself: a change of user would clear an earlier one.

    ``shared``: descriptors of the shared memory, by name; ``control``: its end of the link to us.
    """
    descriptors = {"control": control.fileno(), "settings": settings_fd}
    descriptors |= {name: shared[name] for name in _SHARED[role]}
    environment = {**os.environ, **(become.environment() if become else {})}
    if role in (Role.TEMPLATE, Role.SUCCESSOR):
        command = [settings.python or sys.executable, str(_BOOTSTRAP)]
        # it keeps the working directory off our path; whether it is on the application's, the application decides
        environment.pop("PYTHONSAFEPATH", None)
    else:
        command = [sys.executable, "-m", f"queuemaster.{role.value}"]
    for name, value in {**descriptors, "master": os.getpid()}.items():
        command += [f"--{name}", str(value)]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        pass_fds=list(descriptors.values()),
        env=environment,
        start_new_session=False,
        user=become.uid if become else None,
        group=become.gid if become else None,
        extra_groups=become.groups if become else None,
    )


def signal_group(pid: int, signum: int) -> None:
    """Send a signal to a worker and to every process of its group.

    ``pid``: of a child that is not reaped, dead or alive, so that no other process can have the number.
    """
    try:
        os.killpg(pid, signum)
        return
    except ProcessLookupError:
        # it leads no group yet: its group is that of its parent, the process between the template and it
        group = os.getpgid(pid)
    if group == os.getpgrp():
        os.kill(pid, signum)  # never our own group: the template is in it, too
    else:
        os.killpg(group, signum)
