"""The register: a file beside the pid file that names every child, for the start after a crash of the master.

Pids are used again, so boot id and start time stand beside each pid.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from queuejobs.shared.linux import boot_id, start_time


@dataclass(frozen=True)
class Registered:
    """A child. ``group``: it leads a process group, which is killed with it."""

    pid: int
    start_time: int
    role: str
    group: bool


def path_beside(pidfile: Path) -> Path:
    """Where the register of the master with this pid file lies."""
    return pidfile.with_name(pidfile.name + ".children")


def write(path: Path, children: Iterable[Registered]) -> None:
    """Replace the file atomically: a reader sees the old or the new one."""
    content = {"boot_id": boot_id(), "children": [vars(child) for child in children]}
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(json.dumps(content))
    os.replace(temporary, path)


class Register:
    """The file of this master, written when its children change."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: list[Registered] = []

    def update(self, children: list[tuple[int, str, bool]]) -> None:
        """``children``: all that must not outlive the master: pid, role, whether it leads a process group."""
        if [(known.pid, known.role, known.group) for known in self._known] != children:
            self._known = [Registered(pid, start_time(pid), role, group) for pid, role, group in children]
            write(self._path, self._known)


def survivors(path: Path) -> list[Registered]:
    """Children of an earlier master that still live."""
    try:
        content = json.loads(path.read_text())
        boot, children = content["boot_id"], [Registered(**child) for child in content["children"]]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError):
        # written by another version, whose processes end by themselves when their master is gone
        return []
    if boot != boot_id():
        return []
    return [child for child in children if start_time(child.pid) == child.start_time != 0]


def outwait(path: Path, seconds: float, say: Callable[[str], None]) -> None:
    """Wait until the children of an earlier master are gone; kill those that are there after ``seconds``."""
    deadline = time.monotonic() + seconds
    announced = False
    while children := survivors(path):
        if not announced:
            names = ", ".join(f"{child.role} {child.pid}" for child in children)
            say(f"waiting up to {seconds:.0f} s for processes of an earlier master to end: {names}")
            announced = True
        if time.monotonic() > deadline:
            for child in children:
                say(f"killing {child.role} {child.pid} of an earlier master")
                with contextlib.suppress(ProcessLookupError):
                    (os.killpg if child.group else os.kill)(child.pid, signal.SIGKILL)
        time.sleep(0.05)
