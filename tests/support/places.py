"""Directories for servers of PostgreSQL: in memory if there is room, and open to the user that the server runs as."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_MEMORY = "/dev/shm"
_ROOM = 4 << 30  # bytes; a server takes less than a tenth of it


def memory() -> str | None:
    """Where files lie in memory; None where there is no such place, or it is small, or programs may not be run there.

    What the tests do to a server, kill -9 included, loses nothing there that a disk would keep. And to make a server,
    or to clone and drop a database for each test, costs several times as much processor time on a disk.
    """
    try:
        facts = os.statvfs(_MEMORY)
    except OSError:
        return None
    roomy = facts.f_bavail * facts.f_frsize > _ROOM and os.access(_MEMORY, os.W_OK)
    return _MEMORY if roomy and not facts.f_flag & os.ST_NOEXEC else None


@contextlib.contextmanager
def open_directory(prefix: str = "queuemaster-test-") -> Iterator[Path]:
    """A directory that every user may enter (pytest's own are private to root), removed afterwards."""
    made = Path(tempfile.mkdtemp(prefix=prefix, dir=memory()))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made)
