"""A log file that several processes append to and that another program rotates.

Before each line the process looks whether the file still has its name, and opens the new one if not: to rotate it, a
rename is enough. While no file can be opened by that name, the old one goes on being written.
"""

from __future__ import annotations

import io
import logging.handlers
import os
import stat
import sys
from typing import Optional, Tuple

Owner = Tuple[int, int]  # uid, gid


def open_log(path: str, owner: Optional[Owner] = None) -> io.TextIOWrapper:
    """Open for appending. ``owner``: who shall own the file, given by root when it opens it for that user.

    The user may be able to write the directory: no link in it may lead root to another file. Raises OSError.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    if owner is None:
        return open(os.open(path, flags, 0o666), "a", encoding="utf-8")
    fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o640)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise OSError(f"{path}: not a file of its own, so not given to another user")
        if (status.st_uid, status.st_gid) != owner:
            os.fchown(fd, *owner)
        os.set_blocking(fd, True)
    except BaseException:
        os.close(fd)
        raise
    return open(fd, "a", encoding="utf-8")


class LogFile(logging.handlers.WatchedFileHandler):
    """The standard handler of rotated files, which never lets go of the old file before it has the new one."""

    def __init__(self, path: str, owner: Optional[Owner] = None) -> None:
        self._owner = owner
        self._complained = False
        super().__init__(path, encoding="utf-8")

    def _open(self) -> io.TextIOWrapper:
        return open_log(self.baseFilename, self._owner)

    def reopenIfNeeded(self) -> None:
        """The standard handler calls this before each line, with the lock held."""
        if self._was_moved():
            self._open_again()

    def reopen(self) -> None:
        """Open the file by its name again, whether it was moved or not."""
        self.acquire()
        try:
            self._open_again()
        finally:
            self.release()

    def follow(self) -> None:
        """Open the file by its name again if it was moved; but not while another thread writes, which looks itself."""
        if self.lock is None or not self.lock.acquire(blocking=False):
            return
        try:
            self.reopenIfNeeded()
        finally:
            self.lock.release()

    def _was_moved(self) -> bool:
        try:
            status = os.stat(self.baseFilename)
        except FileNotFoundError:
            return True
        except OSError:
            return False  # it cannot be seen, for instance since its directory is closed to us
        return (status.st_dev, status.st_ino) != (self.dev, self.ino)

    def _open_again(self) -> None:
        try:
            stream = self._open()
        except OSError as error:
            if not self._complained:
                sys.stderr.write(
                    f"log file {self.baseFilename} cannot be opened again, the old one is kept: {error}\n"
                )
            self._complained = True
            return
        self._complained = False
        old, self.stream = self.stream, stream
        self._statstream()
        if old is not None:
            old.close()
