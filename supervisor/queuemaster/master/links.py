"""What the master keeps of each worker: its own end of the worker's socket, and the file of the worker's last words.

The socket's first message, a hello with credentials from the kernel, is for the master; all others are for the
dispatcher, and for the next one after it has died.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
from collections.abc import Callable

from queuejobs.worker import wire

from .peer import Peer

WORDS = 16384  # bytes of tracebacks that are kept


class Links:
    """By entry of the scoreboard."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._peers: dict[int, Peer] = {}
        self._words: dict[int, int] = {}

    def open(self, entry: int, hello: Callable[[wire.Received], None]) -> tuple[socket.socket, int]:
        """For a worker to come: its end of the socket, to be closed here once it is sent, and its file.

        ``hello`` is called with its first message; one that dies first never says it.
        """
        ours, theirs = wire.pair()
        wire.ask_credentials(ours)
        peer = self._peers[entry] = Peer(ours)
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._hear(peer, hello))
        self._words[entry] = os.memfd_create("queuemaster-last-words", os.MFD_CLOEXEC)
        return theirs, self._words[entry]

    def _hear(self, peer: Peer, hello: Callable[[wire.Received], None]) -> None:
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
