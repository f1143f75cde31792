"""The status board: master and dispatcher publish their state on it, for commands, exporter and metrics.

It is shared memory in which each of the two keeps one JSON document. Neither readers nor writers wait: a slot has two
copies of its document, the new one is written over the older copy, then a single store makes it the valid one. A
writer that is killed in the middle leaves the last document valid.

``queuemaster status`` finds the board through the master's descriptors, as the same user or as root.
"""

from __future__ import annotations

import json
import mmap
import os
import time
import zlib
from typing import Generic, TypedDict, TypeVar, cast

from queuejobs.shared.work_counts import WorkCountsDocument

NAME = "queuemaster-status"
SCOREBOARD = "queuemaster-scoreboard"
INTERVAL = 1.0  # seconds between two documents of a writer, at least
# sparse: 4,096 workers and 500 channels take about 1 MiB
_COPY = 8 << 20
_SLOT = 4096 + 2 * _COPY
_SIZE = 2 * _SLOT
_COUNT, _SEEN = 0, 1  # words of a slot's first page: documents written so far, when the writer was last seen
_LENGTHS = (4, 6)  # and a length and a checksum for each of the two copies
_TRIES = 100


class PoolStatus(TypedDict):
    """One channel's workers. ``target``: how many are kept ready."""

    target: int
    alive: int
    backoff_seconds: float  # until the next one is forked, 0: at once


class WorkerStatus(TypedDict):
    """A worker as the master knows it; what it does stands in its entry of the scoreboard."""

    entry: int
    generation: int
    pid: int  # 0: not known yet
    channel: str
    state: str  # asked, named, greeted, dead


class ChildStatus(TypedDict):
    """A process that the master execs; pid 0: it does not run."""

    pid: int
    ready: bool
    backoff_seconds: float


class MasterStatus(TypedDict):
    """What the master publishes."""

    pid: int
    version: str
    phase: str  # running, draining, recovering, ending, ended
    started: float  # seconds since 1970
    pools: dict[str, PoolStatus]
    workers: list[WorkerStatus]
    children: dict[str, ChildStatus]  # by role: template, successor, dispatcher, exporter, server
    restarts: dict[str, dict[str, int]]  # by channel and cause
    counters: dict[str, WorkCountsDocument]  # by channel: what workers that are gone have done


class ChannelStatus(TypedDict):
    """A channel with the limits in force, live changes included."""

    capacity: int | None  # None: unlimited, bounded by the ancestors
    effective: int
    in_use: int  # here and below
    paused: bool  # itself or by one above
    rate: float  # starts a second, 0: any


class DatabaseStatus(TypedDict):
    """A database. Without ``leader`` and with ``standing_by`` another supervisor leads it."""

    up: bool  # there is a connection
    leader: bool
    standing_by: bool
    standing: str  # a value of Standing; "": not known yet
    epoch: int | None


class DispatcherStatus(TypedDict):
    """What the dispatcher publishes."""

    pid: int
    draining: bool
    channels: dict[str, ChannelStatus]
    databases: dict[str, DatabaseStatus]
    links: dict[str, dict[str, int]]  # by channel: how many workers are adopted, idle, granted, gone


class NoStatus(Exception):
    """There is no board to read; the message says why."""


Document = TypeVar("Document", MasterStatus, DispatcherStatus)


class DocumentSlot(Generic[Document]):
    """The document of one process: it writes, any number of others read."""

    def __init__(self, memory: memoryview) -> None:
        self._words = memory[:4096].cast("Q")
        self._copies = (memory[4096 : 4096 + _COPY], memory[4096 + _COPY :])

    def write(self, document: Document) -> bool:
        """Replace the document; False, and nothing changes, if it is too long."""
        text = json.dumps(document, separators=(",", ":")).encode()
        if len(text) > _COPY:
            return False
        count = self._words[_COUNT] + 1
        self._copies[count % 2][: len(text)] = text
        words = _LENGTHS[count % 2]
        self._words[words], self._words[words + 1] = len(text), zlib.crc32(text)
        self._words[_COUNT] = count
        self.seen()
        return True

    def seen(self) -> None:
        """Store that the writer lives, whether or not it has anything new."""
        self._words[_SEEN] = time.monotonic_ns()

    def age(self) -> float:
        """Seconds since the writer was last seen; endless if it never was."""
        seen = self._words[_SEEN]
        return (time.monotonic_ns() - seen) / 1e9 if seen else float("inf")

    def read(self) -> Document | None:
        """The last document; None when there is none yet, or every try to read it met a write."""
        for _ in range(_TRIES):
            count = self._words[_COUNT]
            if not count:
                return None
            words = _LENGTHS[count % 2]
            length, checksum = self._words[words], self._words[words + 1]
            text = bytes(self._copies[count % 2][:length])
            # a copy that was overwritten meanwhile is read again; the checksum is for machines that reorder stores
            if self._words[_COUNT] == count and zlib.crc32(text) == checksum:
                return cast(Document, json.loads(text))
        return None


class StatusBoard:
    """Both slots, over a descriptor that the processes share."""

    def __init__(self, fd: int, protection: int = mmap.PROT_READ | mmap.PROT_WRITE) -> None:
        self.fd = fd
        memory = memoryview(mmap.mmap(fd, _SIZE, prot=protection))
        self.master: DocumentSlot[MasterStatus] = DocumentSlot(memory[:_SLOT])
        self.dispatcher: DocumentSlot[DispatcherStatus] = DocumentSlot(memory[_SLOT:])

    @classmethod
    def create(cls) -> StatusBoard:
        """A new board. Its descriptor is closed on exec unless it is passed on."""
        fd = os.memfd_create(NAME, os.MFD_CLOEXEC)
        os.ftruncate(fd, _SIZE)
        return cls(fd)

    @classmethod
    def view(cls, fd: int) -> StatusBoard:
        """The board over this descriptor, for reading only."""
        return cls(fd, mmap.PROT_READ)

    @classmethod
    def of_process(cls, pid: int) -> StatusBoard:
        """The board of a running master, for reading. Raises :class:`NoStatus`."""
        return cls.view(descriptor_of(pid, NAME))


def descriptor_of(pid: int, name: str) -> int:
    """Shared memory of a running master, by its name: a descriptor of our own. Raises :class:`NoStatus`."""
    directory = f"/proc/{pid}/fd"
    try:
        for entry in os.listdir(directory):
            if _target(f"{directory}/{entry}") == f"/memfd:{name} (deleted)":
                return os.open(f"{directory}/{entry}", os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError as error:
        raise NoStatus(f"process {pid} belongs to another user: ask as that user or as root") from error
    except FileNotFoundError as error:
        raise NoStatus(f"process {pid} has ended") from error
    raise NoStatus(f"process {pid} has no {name}: it is starting, or it is another version's")


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except FileNotFoundError:  # closed meanwhile
        return ""
