"""The phases of the master's life, and what it knows of a process that it execs. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from .backoff import Backoff

EXPORTER_PAUSE = 1.0  # seconds: nothing depends on it, and its start takes a processor for half a second


class Phase(enum.Enum):
    """Where the master is in its life."""

    RUNNING = "running"
    DRAINING = "draining"  # running jobs may finish
    RECOVERING = "recovering"  # workers are killed, and the dispatcher puts their jobs back
    ENDING = "ending"  # no worker is left: template, dispatcher and server go, in this order
    ENDED = "ended"


NEXT_PHASES = {
    Phase.RUNNING: frozenset({Phase.DRAINING}),
    Phase.DRAINING: frozenset({Phase.RECOVERING, Phase.ENDING}),
    Phase.RECOVERING: frozenset({Phase.ENDING}),
    Phase.ENDING: frozenset({Phase.ENDED}),
    Phase.ENDED: frozenset(),
}


@dataclass
class Child:
    """A process of a role. pid 0: it does not run."""

    pid: int = 0
    since: float = 0.0
    starting: bool = False  # the shell was told to exec it
    ready: bool = False
    told_to_end: bool = False
    backoff: Backoff = field(default_factory=Backoff)


def exporter() -> Child:
    """The exporter. It is never restarted without a pause: one that keeps dying takes no processor from jobs."""
    return Child(backoff=Backoff(least=EXPORTER_PAUSE))
