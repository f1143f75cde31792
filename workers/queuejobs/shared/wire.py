"""Messages between the processes: one JSON object a packet, on SOCK_SEQPACKET pairs.

Packets keep their bounds and their order; descriptors and credentials travel with them.
"""

from __future__ import annotations

import array
import json
import socket
import struct
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

_LIMIT = 65536
_UCRED = struct.Struct("iII")


class Received(NamedTuple):
    """One packet. ``pid`` is what the kernel says of the sender, 0 unless the socket asks for it."""

    message: Dict[str, Any]
    fds: List[int]
    pid: int


def pair() -> Tuple[socket.socket, socket.socket]:
    """Two connected ends. Neither is inherited unless it is handed over."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def ask_credentials(end: socket.socket) -> None:
    """From now on packets that arrive here tell their sender's pid."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)


def send(end: socket.socket, message: Dict[str, Any], fds: Sequence[int] = ()) -> None:
    """Raises BrokenPipeError when the other end is gone, BlockingIOError as the socket does."""
    data = json.dumps(message, separators=(",", ":")).encode()
    if fds:
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
        end.sendmsg([data], [rights])
    else:
        end.send(data)


def receive(end: socket.socket) -> Optional[Received]:
    """The next packet; None when the other end is closed."""
    try:
        data, ancillary, _flags, _address = end.recvmsg(
            _LIMIT, socket.CMSG_SPACE(8 * 4) + socket.CMSG_SPACE(_UCRED.size), socket.MSG_CMSG_CLOEXEC
        )
    except ConnectionResetError:
        # closed with packets of ours unread: that is told once, before what the other end had sent and its end
        return receive(end)
    if not data:
        return None
    fds: List[int] = []
    pid = 0
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers = array.array("i")
            numbers.frombytes(payload[: len(payload) - len(payload) % numbers.itemsize])
            fds.extend(numbers)
        elif level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            pid = _UCRED.unpack(payload[: _UCRED.size])[0]
    return Received(json.loads(data), fds, pid)
