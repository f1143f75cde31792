"""The dispatcher's end of each worker's link, and what the dispatcher knows of that worker."""

from __future__ import annotations

import contextlib
import enum
import logging
import socket
from dataclasses import dataclass

from queuejobs.shared import messages, wire
from queuejobs.shared.log import event
from queuejobs.shared.process import Process
from queuejobs.shared.transitions import require_legal

from .grant import OutstandingGrant

_log = logging.getLogger("queuemaster.dispatcher")


class LinkState(enum.Enum):
    """What the dispatcher knows of a worker."""

    ADOPTED = "adopted"  # told to attach, no answer yet: it may still run what an earlier dispatcher granted
    IDLE = "idle"  # waits for a grant
    GRANTED = "granted"
    GONE = "gone"  # its link ended or it was reaped; waits for its recovery


_TRANSITIONS = {
    LinkState.ADOPTED: {LinkState.IDLE, LinkState.GONE},
    LinkState.IDLE: {LinkState.GRANTED, LinkState.GONE},
    LinkState.GRANTED: {LinkState.IDLE, LinkState.GONE},
    LinkState.GONE: set(),
}


@dataclass
class Link:
    """One worker. ``holds_slot``: it counts in its pool's channel and every ancestor."""

    entry: int  # of the scoreboard
    generation: int
    process: Process
    channel: str  # of its pool
    socket: socket.socket
    state: LinkState = LinkState.ADOPTED
    grant: OutstandingGrant | None = None
    holds_slot: bool = True
    idle_since: float = 0.0  # monotonic
    retiring: bool = False
    database: int | None = None  # of its last grant, None when another dispatcher gave it

    def enter(self, state: LinkState) -> None:
        """The only place that changes the state."""
        require_legal(f"link of worker {self.process.pid}", _TRANSITIONS, self.state, state)
        if _log.isEnabledFor(logging.DEBUG):
            event(
                _log, logging.DEBUG, "link", worker=self.process.pid, before=self.state.value, now=state.value
            )
        self.state = state

    def send(self, message: messages.Message) -> None:
        """Never waits for long: a worker reads whenever it is idle, and is sent little while it is not."""
        try:
            wire.send(self.socket, message)
        except OSError as error:
            # its end is closed: the master will reap it, or the link's reader has seen the end already
            event(_log, logging.DEBUG, "worker does not listen", worker=self.process.pid, error=str(error))
        except messages.BadMessage as error:
            event(_log, logging.ERROR, "message cannot be sent", worker=self.process.pid, why=str(error))
            # else its answer would be waited for for ever: with its link closed it leaves, and its slot comes back
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)

    def retire(self) -> None:
        """Have the worker leave, at once or after its job."""
        if not self.retiring:
            self.retiring = True
            self.send(messages.Retire())

    def end_slice(self) -> None:
        """Have the worker's slice or batch end with the job that runs."""
        grant = self.grant
        if grant is None or grant.revoked or (grant.slice is None and grant.batch == 1):
            return
        # to be told to retire ends a slice as well, and is the last message that a worker reads
        if not self.retiring:
            grant.revoked = True
            self.send(messages.Revoke())


class Links(dict[int, Link]):
    """The links by entry of the scoreboard."""

    def staying(self) -> list[Link]:
        """The workers that may be granted something, now or later."""
        return [link for link in self.values() if link.state is not LinkState.GONE and not link.retiring]

    def idle(self, channel: str | None = None) -> list[Link]:
        """The workers that wait for a grant, in all pools or in one."""
        return [
            link
            for link in self.values()
            if link.state is LinkState.IDLE and not link.retiring and channel in (None, link.channel)
        ]
