"""Processes that a test started and what became of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil


def descendants(excluding: frozenset[psutil.Process] = frozenset()) -> list[psutil.Process]:
    """All processes below this one, except the given ones and what is below those."""
    return list(_below(psutil.Process(), excluding))


def end_of(processes: list[psutil.Process], patience: float) -> list[psutil.Process]:
    """Wait for processes to end; returns those that did not. Dead ones adopted by us are reaped."""
    _, alive = psutil.wait_procs(processes, timeout=patience)
    return [process for process in alive if not _is_dead(process)]


def has_ended(pid: int) -> bool:
    """Whether the process is gone, or dead and waiting to be reaped."""
    try:
        return _is_dead(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return True


def describe(process: psutil.Process) -> str:
    """What ps would say."""
    try:
        return f"{process.pid} ({process.status()}) {' '.join(process.cmdline()) or process.name()}"
    except psutil.NoSuchProcess:
        return f"{process.pid} (gone)"


def holders_of(processes: list[psutil.Process], path: Path) -> list[psutil.Process]:
    """Who has the file open, whatever it is called now."""
    wanted = path.stat()
    holders = []
    for process in processes:
        for fd in Path(f"/proc/{process.pid}/fd").iterdir():
            there = os.stat(fd) if fd.exists() else None
            if there and (there.st_dev, there.st_ino) == (wanted.st_dev, wanted.st_ino) and int(fd.name) > 2:
                holders.append(process)
    return holders


def _below(process: psutil.Process, excluding: frozenset[psutil.Process]) -> Iterator[psutil.Process]:
    try:
        children = process.children()
    except psutil.NoSuchProcess:
        return
    for child in children:
        if child not in excluding:
            yield child
            yield from _below(child, excluding)


def _is_dead(process: psutil.Process) -> bool:
    try:
        if process.status() != psutil.STATUS_ZOMBIE:
            return False
        os.waitpid(process.pid, os.WNOHANG)
    except (psutil.NoSuchProcess, ChildProcessError):
        pass  # reaped by its own parent meanwhile
    return True
