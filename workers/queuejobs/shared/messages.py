"""Every message between the processes of a supervisor: one frozen type each, encoded and decoded here.

A message travels as one JSON object in one packet (see ``wire``); some take descriptors along. A receiver gets one of
these types or nothing: a packet that is too long, malformed or of an unknown kind raises :class:`BadMessage`. Keys that
a type does not know are ignored, so that a newer process may say more to an older one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar, Dict, Optional, Type

from .job_key import Key
from .standing import Standing
from .stop_causes import DeathKind
from .typed_json import WrongType, reader_of

LONGEST = 65536  # bytes of one encoded message
EXIT_CANNOT_IMPORT = 78  # of a template, after CannotImport. EX_CONFIG: another start would fail as well


class BadMessage(Exception):
    """A packet that is none of our messages, or a message that cannot be sent; the text says why."""


class Message:
    """Base of all messages. ``DESCRIPTORS``: how many file descriptors travel with it."""

    DESCRIPTORS: ClassVar[int] = 0


# between the master and the processes of several roles


@dataclass(frozen=True)
class ReopenLogs(Message):
    """Master to template, dispatcher and exporter: open the log file again."""


@dataclass(frozen=True)
class Ready(Message):
    """Template, dispatcher and exporter to the master: this process can be used now."""


# master and template


@dataclass(frozen=True)
class Fork(Message):
    """Master to template: fork a worker. With it: the worker's end of its link, and the file of its last words."""

    DESCRIPTORS: ClassVar[int] = 2

    entry: int  # of the scoreboard
    generation: int
    channel: str  # whose pool it joins
    master: int  # pid
    patience: float  # seconds that the fork may take


@dataclass(frozen=True)
class Forked(Message):
    """Template to master, the answer to :class:`Fork`. ``pid`` 0: it could not."""

    entry: int
    generation: int
    pid: int


@dataclass(frozen=True)
class CannotImport(Message):
    """Template to master: a module of the application raised when it was imported. The template ends."""

    module: str
    error: str


@dataclass(frozen=True)
class Leave(Message):
    """Master to template: another template takes over. What was asked before is answered first."""


# master to dispatcher


@dataclass(frozen=True)
class HandOverWorker(Message):
    """Master to dispatcher: this worker is the dispatcher's to use. With it: the dispatcher's end of its link."""

    DESCRIPTORS: ClassVar[int] = 1

    entry: int
    generation: int
    channel: str
    pid: int
    start_time: int  # clock ticks since boot


@dataclass(frozen=True)
class WorkerDied(Message):
    """Master to dispatcher: a worker was reaped. Repeated to each dispatcher until one answers ``WorkerRecovered``."""

    entry: int
    generation: int
    pid: int
    start_time: int
    database: int  # of its run; meaningless without a job
    job: int  # 0: none, or the one that it was claiming
    attempt: int
    cause: Optional[str]  # None: an interruption, the try does not count
    detail: str  # tracebacks
    kind: DeathKind


@dataclass(frozen=True)
class Begin(Message):
    """Master to dispatcher: all workers and deaths are told, lead now."""


@dataclass(frozen=True)
class Drain(Message):
    """Master to dispatcher: grant nothing any more."""


@dataclass(frozen=True)
class ApplySettings(Message):
    """Master to dispatcher: another configuration is in force. With it: a file that holds the settings."""

    DESCRIPTORS: ClassVar[int] = 1


@dataclass(frozen=True)
class RetireGenerations(Message):
    """Master to dispatcher: workers up to this generation run old code, they leave as they become idle."""

    generation: int


@dataclass(frozen=True)
class ChangeRootCapacity(Message):
    """Master to dispatcher: so many slots of root more, or less, than configured."""

    change: int


# dispatcher to master


@dataclass(frozen=True)
class WorkerRecovered(Message):
    """Dispatcher to master: nothing of this dead worker is left in any database, its entry may be given away."""

    entry: int
    generation: int


@dataclass(frozen=True)
class DatabaseStanding(Message):
    """Dispatcher to master: what the dispatcher is to a database now."""

    database: int
    standing: Standing


@dataclass(frozen=True)
class WorkersWanted(Message):
    """Dispatcher to master: how many workers each of these channels could use now, existing ones included."""

    channels: Dict[str, int]

    @classmethod
    def fitting(cls, channels: Dict[str, int]) -> WorkersWanted:
        """The first channels, as many as one message holds. The others are told when these have their workers."""
        fitting: Dict[str, int] = {}
        room = LONGEST - 100  # bytes, less the frame
        for name, count in channels.items():
            # encoded alone the entry has two braces, in the message one comma
            room -= len(_ENCODER.encode({name: count}).encode("utf-8", "backslashreplace")) - 1
            if room < 0:
                break
            fitting[name] = count
        return cls(fitting)


@dataclass(frozen=True)
class ReloadWanted(Message):
    """Dispatcher to master: do what a SIGHUP does, databases or the application's code have changed."""


@dataclass(frozen=True)
class CancelRun(Message):
    """Dispatcher to master: stop this run, its job was cancelled."""

    entry: int
    generation: int
    job: int
    attempt: int


# dispatcher to worker


@dataclass(frozen=True)
class Attach(Message):
    """Dispatcher to worker, first of all: answer with :class:`Attached` when all earlier grants are answered."""

    incarnation: int


@dataclass(frozen=True)
class SliceTerms:
    """How far a slice goes: part of :class:`Grant`."""

    seconds: float
    jobs: int
    until: Optional[Key]  # from this key on it is another channel's turn


@dataclass(frozen=True)
class Grant(Message):
    """Dispatcher to worker: the right to run jobs of one stored channel in one slot. Answered by :class:`Released`."""

    number: int
    database: int
    epoch: int
    channel: str  # as stored
    job: Optional[int]  # only this one; None: the first that is ready
    bound: Optional[Key]  # no ready job has a lesser key
    batch: int  # jobs in one transaction, at most
    slice: Optional[SliceTerms]  # None: one job, or one batch


@dataclass(frozen=True)
class Revoke(Message):
    """Dispatcher to worker: the slice or batch under way ends after the job that runs."""


@dataclass(frozen=True)
class Retire(Message):
    """Dispatcher to worker: leave, at once or after the grant under way. The last message that a worker reads."""


@dataclass(frozen=True)
class WarmUp(Message):
    """Dispatcher to worker: a grant for this database may follow, have the session ready."""

    database: int


# worker to master and dispatcher


@dataclass(frozen=True)
class Hello(Message):
    """Worker to master: the first message on its link. The kernel's credentials say the pid."""

    start_time: int


@dataclass(frozen=True)
class Attached(Message):
    """Worker to dispatcher, the answer to :class:`Attach`: no earlier grant is in use."""

    incarnation: int


@dataclass(frozen=True)
class Claimed(Message):
    """Worker to dispatcher: by this grant a job was started, or the grant's slice went on with it."""

    number: int  # of the grant
    job: int


@dataclass(frozen=True)
class Released(Message):
    """Worker to dispatcher: the grant is used up, or came to nothing."""

    number: int  # of the grant
    leaving: bool  # the worker ends
    broken: bool  # the batch was rolled back as a whole


# Who is told what. A message for another process is refused like any odd packet.
MASTER_READS = frozenset(
    (Ready, CannotImport, Forked, WorkerRecovered, DatabaseStanding, WorkersWanted, ReloadWanted, CancelRun)
)
MASTER_READS_OF_WORKERS = frozenset((Hello,))
TEMPLATE_READS = frozenset((Fork, Leave, ReopenLogs))
DISPATCHER_READS = frozenset(
    (
        HandOverWorker,
        WorkerDied,
        Begin,
        Drain,
        ApplySettings,
        RetireGenerations,
        ChangeRootCapacity,
        ReopenLogs,
    )
)
DISPATCHER_READS_OF_WORKERS = frozenset((Attached, Claimed, Released))
WORKER_READS = frozenset((Attach, Grant, Revoke, Retire, WarmUp))
EXPORTER_READS = frozenset((ReopenLogs,))

MESSAGES: Dict[str, Type[Message]] = {kind.__name__: kind for kind in Message.__subclasses__()}


# a part of a message (SliceTerms) becomes an object
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, default=vars)


def encode(message: Message) -> bytes:
    """The packet of a message. Raises :class:`BadMessage` when it is too long to be received."""
    text = _ENCODER.encode({"type": type(message).__name__, **vars(message)})
    data = text.encode("utf-8", "backslashreplace")
    if len(data) > LONGEST:
        raise BadMessage(f"{type(message).__name__} has {len(data)} bytes, at most {LONGEST} can be sent")
    return data


def decode(data: bytes) -> Message:
    """The message of a packet. Raises :class:`BadMessage`."""
    if len(data) > LONGEST:
        raise BadMessage(f"longer than {LONGEST} bytes")
    try:
        document = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise BadMessage(f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise BadMessage("not an object")
    kind = document.get("type")
    if not isinstance(kind, str) or kind not in MESSAGES:
        raise BadMessage(f"unknown type {str(kind)[:50]!r}")
    try:
        message: Message = _READERS[MESSAGES[kind]](document)
    except WrongType as error:
        raise BadMessage(str(error)) from error
    return message


_READERS = {kind: reader_of(kind) for kind in MESSAGES.values()}
