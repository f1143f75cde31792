"""The master's ends of the sockets to its children, and the file of each worker's last words.

A worker's first message, a hello with credentials from the kernel, is for the master; all others are for the
dispatcher, and for the next one after it has died.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from queuejobs.shared import wire

WORDS = 16384  # bytes of tracebacks that are kept


class Outbox:
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


class Links:
    """By entry of the scoreboard."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._peers: dict[int, Outbox] = {}
        self._words: dict[int, int] = {}

    def open(self, entry: int, hello: Callable[[wire.Received], None]) -> tuple[socket.socket, int]:
        """For a worker to come: its end of the socket, to be closed here once it is sent, and its file.

        ``hello`` is called with its first message; one that dies first never says it.
        """
        ours, theirs = wire.pair()
        wire.ask_credentials(ours)
        peer = self._peers[entry] = Outbox(ours)
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._hear(peer, hello))
        self._words[entry] = os.memfd_create("queuemaster-last-words", os.MFD_CLOEXEC)
        return theirs, self._words[entry]

    def _hear(self, peer: Outbox, hello: Callable[[wire.Received], None]) -> None:
        self._selector.unregister(peer.socket)
        received = peer.receive()
        if received is None or received.message.get("type") != "hello":
            return  # it died first: reaped, or asked for again at its deadline
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
        hello(received)

    def descriptor(self, entry: int) -> int:
        """The socket, for the dispatcher."""
        return self._peers[entry].socket.fileno()

    def last_words(self, entry: int) -> str:
        """The tracebacks that a worker has left when it was ended by a fatal signal."""
        return os.pread(self._words[entry], WORDS, 0).decode(errors="replace").strip()

    def forget(self, entry: int) -> None:
        """The worker is gone, or never came."""
        os.close(self._words.pop(entry))
        peer = self._peers.pop(entry, None)
        if peer is not None:
            with contextlib.suppress(KeyError):
                self._selector.unregister(peer.socket)
            peer.close()
