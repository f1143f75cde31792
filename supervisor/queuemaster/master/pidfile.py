"""The pid file: its content names the master, the lock on it says that the master runs. Without a lock it is stale."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path


class AlreadyRunning(Exception):
    """Another master holds the lock."""

    def __init__(self, path: Path, pid: int | None) -> None:
        super().__init__(f"already running as process {pid} (pid file {path} is locked)")
        self.pid = pid


class PidFileError(Exception):
    """The file cannot be used; the message says why."""


def acquire(path: Path) -> int:
    """Lock the file and write our pid into it; the descriptor holds the lock as long as it is open."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise PidFileError(
            f"pid file {path}: {error.strerror}; name a writable place with --pidfile"
        ) from error
    try:
        content = os.pread(fd, 64, 0).strip()
        if content and not content.isdigit():
            raise PidFileError(
                f"pid file {path}: holds something else than a pid, left as it is: name another file"
            )
        _lock(fd, path, int(content) if content else None)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _lock(fd: int, path: Path, pid: int | None) -> None:
    # owner() of another process may hold the lock for a moment
    deadline = time.monotonic() + 0.5
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise AlreadyRunning(path, pid) from None
            time.sleep(0.01)


def owner(path: Path) -> int | None:
    """The pid of the master that holds the lock, None when nobody does. Raises :class:`PidFileError`."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PidFileError(f"pid file {path}: {error.strerror}") from error
    try:
        try:
            content = os.pread(fd, 64, 0).strip()
        except OSError as error:
            raise PidFileError(f"pid file {path}: {error.strerror}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            if not content.isdigit():
                raise PidFileError(f"pid file {path}: locked, but it holds no pid") from None
            return int(content)
        if content and not content.isdigit():
            raise PidFileError(f"pid file {path}: holds something else than a pid")
        return None
    finally:
        os.close(fd)
