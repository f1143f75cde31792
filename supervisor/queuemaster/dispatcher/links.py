"""The dispatcher's end of each worker's link."""

from __future__ import annotations

import enum
import logging
import socket
from dataclasses import dataclass
from typing import Any

from queuejobs.shared import wire
from queuejobs.shared.log import event
from queuejobs.shared.process import Process
from queuemaster.channels import Key

from .slices import Slice

_log = logging.getLogger("queuemaster.dispatcher")


class LinkState(enum.Enum):
    """What the dispatcher knows of a worker."""

    ADOPTED = (
        "adopted"  # told to attach, has not answered: it may still run what an earlier dispatcher granted
    )
    IDLE = "idle"
    GRANTED = "granted"
    GONE = "gone"  # its link ended or it was reaped; waits for its recovery


@dataclass(frozen=True)
class Grant:
    """The right to run a job of a stored channel in one slot, or several, one after the other."""

    number: int
    database: int
    epoch: int
    channel: str  # as stored
    sequential: bool
    batch: int  # jobs in one transaction, at most
    bound: Key | None  # no ready job has a lesser key
    slice: Slice | None = None  # None: one job, or one batch


@dataclass
class Link:
    """One worker. ``holds_slot``: it counts in its pool's channel and every ancestor."""

    entry: int
    generation: int
    process: Process
    channel: str
    socket: socket.socket
    state: LinkState = LinkState.ADOPTED
    grant: Grant | None = None
    claimed: bool = False  # the grant has become a started row
    revoked: bool = False  # its slice or batch was told to end
    holds_slot: bool = True
    idle_since: float = 0.0
    retiring: bool = False
    database: int | None = None  # of its last grant, None when another dispatcher gave it


class Links(dict[int, Link]):
    """By entry."""

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


def send(link: Link, message: dict[str, Any]) -> None:
    """Never waits for long: a worker reads whenever it is idle, and is told little while it is not."""
    try:
        wire.send(link.socket, message)
    except OSError as error:
        # its end is closed: the master will reap it, or the link's reader has it already
        event(_log, logging.DEBUG, "worker does not listen", worker=link.process.pid, error=str(error))


def retire(link: Link) -> None:
    """Have a worker leave, at once or after its job."""
    if not link.retiring:
        link.retiring = True
        send(link, {"type": "retire"})
