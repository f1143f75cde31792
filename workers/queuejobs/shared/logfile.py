"""A log file that several processes append to and that somebody else rotates.

Whoever logs looks whether the file still has its name, and opens the new one if not: a rename is enough, nobody has
to be told. A file that cannot be opened changes nothing: the old one goes on being written.
"""

from __future__ import annotations

import io
import logging
import os
import stat
import sys
from typing import Optional, TextIO, Tuple

Owner = Tuple[int, int]  # uid, gid


def open_log(path: str, owner: Optional[Owner] = None) -> TextIO:
    """Open for appending. ``owner``: whose file it shall be, for root, who opens it for an ordinary user.

    That user may write the directory, perhaps: no link of his leads root to another file. Raises OSError.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    if owner is None:
        return open(os.open(path, flags, 0o666), "a", encoding="utf-8")
    fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o640)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise OSError(f"{path}: not a file of its own, so not given to another user")
        if (found.st_uid, found.st_gid) != owner:
            os.fchown(fd, *owner)
        os.set_blocking(fd, True)
    except BaseException:
        os.close(fd)
        raise
    return open(fd, "a", encoding="utf-8")


class LogFile(logging.StreamHandler):  # type: ignore[type-arg]  # it takes none before 3.11
    """Appends to ``path``, wherever that leads by now."""

    def __init__(self, path: str, owner: Optional[Owner] = None) -> None:
        self._path = os.path.abspath(path)
        self._owner = owner
        self._complained = False
        super().__init__(open_log(self._path, owner))

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; the lock is held."""
        if self._moved():
            self._open_again()
        super().emit(record)

    def reopen(self) -> None:
        """Now, whether it was moved or not."""
        self.acquire()
        try:
            self._open_again()
        finally:
            self.release()

    def follow(self) -> None:
        """If it was moved; not at all while somebody writes, who looks too."""
        if self.lock is None or not self.lock.acquire(blocking=False):
            return
        try:
            if self._moved():
                self._open_again()
        finally:
            self.lock.release()

    def _moved(self) -> bool:
        try:
            now, ours = os.stat(self._path), os.fstat(self.stream.fileno())
        except FileNotFoundError:
            return True
        except (OSError, io.UnsupportedOperation):
            return False  # not to be seen, for instance since its directory is closed to us
        return (now.st_dev, now.st_ino) != (ours.st_dev, ours.st_ino)

    def _open_again(self) -> None:
        try:
            stream = open_log(self._path, self._owner)
        except OSError as error:
            if not self._complained:
                sys.stderr.write(
                    f"log file {self._path} cannot be opened again, the old one is kept: {error}\n"
                )
            self._complained = True
            return
        self._complained = False
        old, self.stream = self.stream, stream
        old.close()
