"""The dispatcher's end of each worker's link."""

from __future__ import annotations

import enum
import socket
from dataclasses import dataclass

from queuejobs.store.claims import Process


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
    """The right to run one job of a stored channel in one slot."""

    number: int
    database: int
    epoch: int
    channel: str  # as stored
    sequential: bool
    batch: int  # jobs, at most


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
    holds_slot: bool = True
    idle_since: float = 0.0
    retiring: bool = False
    database: int | None = None  # of its last grant, None when another dispatcher gave it
