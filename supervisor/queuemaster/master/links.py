"""The master's ends of the sockets to its children, and the file of each worker's last words.

A worker's first message, a hello with credentials from the kernel, is for the master; all others are for the
dispatcher, and for the next one after it has died.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
from collections import deque
from collections.abc import Callable, Collection, Sequence

from queuejobs.shared import wire
from queuejobs.shared.log import event
from queuejobs.shared.messages import MASTER_READS, MASTER_READS_OF_WORKERS, BadMessage, Leave, Message

from .core.events import Role

WORDS = 16384  # bytes of tracebacks that are kept: they travel in a message and are stored as text
_CONTROLS = dict.fromkeys(set(range(32)) - {9, 10}, "?")
_log = logging.getLogger("queuemaster.master")


class Outbox:
    """A non-blocking link with an outbox. Descriptors in the outbox are duplicates, closed when sent."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self.socket = end
        self._outbox: deque[tuple[Message, list[int]]] = deque()

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Send now if possible, else when :meth:`flush` gets it through. Does nothing if the child is gone."""
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
                pass  # the child's end is closed: its death will be reaped
            except BadMessage as error:
                event(_log, logging.ERROR, "message cannot be sent", why=str(error))
            self._outbox.popleft()
            for fd in fds:
                os.close(fd)

    def receive(self, accepted: Collection[type[Message]] = MASTER_READS) -> wire.Received | None:
        """The next message; raises BlockingIOError when there is none, None at the end."""
        return wire.receive(self.socket, accepted)

    def close(self) -> None:
        """Give up what was not sent."""
        for _, fds in self._outbox:
            for fd in fds:
                os.close(fd)
        self._outbox.clear()
        self.socket.close()


class RoleLinks:
    """The links to the processes that the master execs, by role."""

    def __init__(
        self, selector: selectors.BaseSelector, hear: Callable[[Role | None, Message], None]
    ) -> None:
        """``hear`` is called with each message; the role is None of a template that was replaced."""
        self._selector = selector
        self._hear = hear
        self._outboxes: dict[Role, Outbox] = {}

    def open(self, role: Role) -> socket.socket:
        """Open the link to a process to come. Returns its end, to be closed here once the process has inherited it."""
        ours, theirs = wire.pair()
        outbox = self._outboxes[role] = Outbox(ours)
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._read(outbox))
        return theirs

    def send(self, role: Role, message: Message, fds: Sequence[int] = ()) -> None:
        """Does nothing when no such process runs: the next one is told what matters when it comes."""
        outbox = self._outboxes.get(role)
        if outbox is not None:
            outbox.send(message, fds)

    def flush(self) -> None:
        """Send what waited for a process to read."""
        for outbox in self._outboxes.values():
            outbox.flush()

    def succeed(self) -> None:
        """The successor is the template from now on. The old one is told to leave; its last answers are still heard."""
        old = self._outboxes.pop(Role.TEMPLATE, None)
        self._outboxes[Role.TEMPLATE] = self._outboxes.pop(Role.SUCCESSOR)
        if old is not None:
            old.send(Leave())

    def drop(self, role: Role) -> None:
        """The process was reaped: hear what it had said, then close the link."""
        outbox = self._outboxes.get(role)
        if outbox is not None:
            self._read(outbox)
            self._close(outbox)

    def _read(self, outbox: Outbox) -> None:
        while outbox.socket.fileno() >= 0:
            try:
                received = outbox.receive()
            except BlockingIOError:
                return
            if received is None:
                self._close(outbox)  # its death comes as a signal
            else:
                role = next((role for role, known in self._outboxes.items() if known is outbox), None)
                self._hear(role, received.message)

    def _close(self, outbox: Outbox) -> None:
        if outbox.socket.fileno() >= 0:
            self._selector.unregister(outbox.socket)
            outbox.close()
        self._outboxes = {role: known for role, known in self._outboxes.items() if known is not outbox}


class WorkerLinks:
    """The links to workers, and the files of their last words, by entry of the scoreboard."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._outboxes: dict[int, Outbox] = {}
        self._words: dict[int, int] = {}

    def open(self, entry: int, hello: Callable[[wire.Received], None]) -> tuple[socket.socket, int]:
        """Open the link to a worker to come. Returns its end, to be closed here once it is sent, and its file.

        ``hello`` is called with the worker's first message, never if the worker dies before it.
        """
        ours, theirs = wire.pair()
        outbox = self._outboxes[entry] = Outbox(ours)
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._hear(outbox, hello))
        self._words[entry] = os.memfd_create("queuemaster-last-words", os.MFD_CLOEXEC)
        return theirs, self._words[entry]

    def _hear(self, outbox: Outbox, hello: Callable[[wire.Received], None]) -> None:
        try:
            received = outbox.receive(MASTER_READS_OF_WORKERS)
        except BlockingIOError:
            return  # what was there was no hello, which may still come
        self._selector.unregister(outbox.socket)
        if received is not None:  # else the worker died first: reaped, or asked for again at its deadline
            hello(received)

    def descriptor(self, entry: int) -> int:
        """The socket, for the dispatcher."""
        return self._outboxes[entry].socket.fileno()

    def last_words(self, entry: int) -> str:
        """The tracebacks that a worker has left when it was ended by a fatal signal."""
        text = os.pread(self._words[entry], WORDS, 0).decode(errors="replace")
        return text.translate(_CONTROLS).strip()

    def forget(self, entry: int) -> None:
        """The worker is gone, or never came."""
        os.close(self._words.pop(entry))
        outbox = self._outboxes.pop(entry, None)
        if outbox is not None:
            with contextlib.suppress(KeyError):
                self._selector.unregister(outbox.socket)
            outbox.close()
