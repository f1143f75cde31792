"""What the master remembers of itself and of the processes that it execs. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from .backoff import Backoff

EXPORTER_PAUSE = 1.0  # seconds: nothing depends on it, and its start takes a processor for half a second


class Phase(enum.Enum):
    """Where the master is in its life."""

    RUNNING = "running"
    DRAINING = "draining"  # running jobs may finish
    RECOVERING = "recovering"  # no worker may be left; what they left is being put back
    ENDING = "ending"  # no worker is left: template, dispatcher and server go, in this order
    ENDED = "ended"


@dataclass
class Child:
    """A process of a role. pid 0: none."""

    pid: int = 0
    since: float = 0.0
    starting: bool = False  # exec asked for
    ready: bool = False
    told_to_end: bool = False
    backoff: Backoff = field(default_factory=Backoff)


def exporter() -> Child:
    """One that jobs do not notice, even if somebody kills it without a pause."""
    return Child(backoff=Backoff(least=EXPORTER_PAUSE))
