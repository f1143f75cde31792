"""Messages between the processes, on SOCK_SEQPACKET pairs: packets keep their bounds and their order.

Descriptors and credentials travel with them. A packet that is none of our messages is refused here: its descriptors
are closed, it is logged, and the next packet is read.
"""

from __future__ import annotations

import array
import logging
import os
import socket
import struct
import time
from typing import Collection, List, NamedTuple, Optional, Sequence, Tuple, Type

from .log import event
from .log_limit import LogLimit
from .messages import LONGEST, BadMessage, Message, decode, encode

_UCRED = struct.Struct("iII")
_MOST_DESCRIPTORS = 8
_ANCILLARY = socket.CMSG_SPACE(_MOST_DESCRIPTORS * 4) + socket.CMSG_SPACE(_UCRED.size)
# as plain integers: & with a member of an enum costs as much as half of the system call
_CLOSE_ON_EXEC = int(socket.MSG_CMSG_CLOEXEC)
_TRUNCATED = int(socket.MSG_TRUNC)
_LOST_DESCRIPTORS = int(socket.MSG_CTRUNC)
_log = logging.getLogger("queuemaster.wire")
_refusals = LogLimit()


class Received(NamedTuple):
    """One message. ``pid`` is what the kernel says of the sender."""

    message: Message
    fds: List[int]
    pid: int


def pair() -> Tuple[socket.socket, socket.socket]:
    """Two connected ends. Neither is inherited unless it is handed over.

    Every packet tells its sender's pid: an empty one is told from the end by that.
    """
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    return ends


def send(end: socket.socket, message: Message, fds: Sequence[int] = ()) -> None:
    """Raises BrokenPipeError when the other end is gone, BlockingIOError as the socket does, BadMessage."""
    data = encode(message)
    if fds:
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
        end.sendmsg([data], [rights])
    else:
        end.send(data)


def receive(end: socket.socket, accepted: Collection[Type[Message]]) -> Optional[Received]:
    """The next message of a type that this process is told; None when the other end is closed.

    Raises BlockingIOError as the socket does.
    """
    while True:
        try:
            data, ancillary, flags, _address = end.recvmsg(LONGEST, _ANCILLARY, _CLOSE_ON_EXEC)
        except ConnectionResetError:
            # the peer closed its end with packets of ours unread, and its own packets come after this error
            continue
        fds, pid = _read_ancillary(ancillary)
        if not data and not ancillary:
            return None
        try:
            return Received(_understand(data, flags, fds, accepted), fds, pid)
        except BadMessage as error:
            for fd in fds:
                os.close(fd)
            left_out = _refusals.admit(time.monotonic())
            if left_out is not None:
                event(
                    _log, logging.WARNING, "message refused",
                    bytes=len(data), why=str(error), left_out=left_out or None,
                )  # fmt: skip


def _understand(data: bytes, flags: int, fds: List[int], accepted: Collection[Type[Message]]) -> Message:
    if flags & _TRUNCATED:
        raise BadMessage(f"longer than {LONGEST} bytes")
    if flags & _LOST_DESCRIPTORS:
        raise BadMessage(f"descriptors were lost: more than {_MOST_DESCRIPTORS}, or too many open files")
    message = decode(data)
    if type(message) not in accepted:
        raise BadMessage(f"{type(message).__name__} is not for this process")
    if len(fds) != message.DESCRIPTORS:
        raise BadMessage(
            f"{type(message).__name__} with {len(fds)} descriptors, expected {message.DESCRIPTORS}"
        )
    return message


def _read_ancillary(ancillary: List[Tuple[int, int, bytes]]) -> Tuple[List[int], int]:
    """Descriptors, and the sender's pid."""
    fds: List[int] = []
    pid = 0
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers = array.array("i")
            numbers.frombytes(payload[: len(payload) - len(payload) % numbers.itemsize])
            fds.extend(numbers)
        elif level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            pid = _UCRED.unpack(payload[: _UCRED.size])[0]
    return fds, pid
