"""The master's end of a socket to a child: it never waits for the child to read."""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Sequence
from typing import Any

from queuejobs.worker import wire


class Peer:
    """A non-blocking link with an outbox. Descriptors in the outbox are duplicates, closed when sent."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self.socket = end
        self._outbox: deque[tuple[dict[str, Any], list[int]]] = deque()

    def send(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """Now if possible, else when :meth:`flush` gets it through; nothing if the child is gone."""
        self._outbox.append((message, [os.dup(fd) for fd in fds]))
        self.flush()

    def flush(self) -> None:
        """Send what waits, in order."""
        while self._outbox:
            message, fds = self._outbox[0]
            try:
                wire.send(self.socket, message, fds)
            except BlockingIOError:
                return
            except OSError:
                pass  # the child's end is closed: its death will be reaped, and told to whom it concerns
            self._outbox.popleft()
            for fd in fds:
                os.close(fd)

    def receive(self) -> wire.Received | None:
        """The next message; raises BlockingIOError when there is none, None at the end."""
        return wire.receive(self.socket)

    def close(self) -> None:
        """Give up what was not sent."""
        for _, fds in self._outbox:
            for fd in fds:
                os.close(fd)
        self._outbox.clear()
        self.socket.close()
