"""What is known of one job, and of everything that may stand in its way. Ages and waits are seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

COUNTED = 10_000  # better jobs beyond this are not counted


@dataclass(frozen=True)
class Worker:
    """The database session that runs a job."""

    pid: int
    host: str
    alive: bool  # its lock is held


@dataclass(frozen=True)
class Job:
    """The job that is asked about."""

    uuid: str
    call: str
    state: str
    channel: str  # as stored
    retry: int
    max_retries: int
    attempt: int
    created_ago: float
    error: str = ""  # of the last run that had one
    eta_in: float | None = None
    started_ago: float | None = None
    ended_ago: float | None = None
    cancel_requested: bool = False
    unknown_for: float | None = None  # since a worker first did not know its model or method
    worker: Worker | None = None
    doomed: bool = False  # it has failed for good, but for its on_fail_method


@dataclass(frozen=True)
class Other:
    """Another job, as far as it matters for this one."""

    uuid: str
    call: str
    state: str
    channel: str  # as stored
    database: str = ""
    error: str = ""
    eta_in: float | None = None
    started_ago: float | None = None
    worker: Worker | None = None


@dataclass(frozen=True)
class Leader:
    """Who leads the database."""

    led: bool  # the lock of leadership is held
    takes_over: bool = False  # by a session that is not, or not yet, the one that says so
    host: str = ""
    epoch: int = 0
    beat_ago: float | None = None
    stock: bool = False  # beside Odoo: the addon's own runner does


@dataclass(frozen=True)
class Pool:
    """The workers of one channel, as the running master sees them."""

    target: int
    alive: int
    backoff: float = 0.0  # until the next one is forked


@dataclass(frozen=True)
class Some:
    """Some of many: ``shown`` are the first of ``count``."""

    shown: tuple[Other, ...] = ()
    count: int = 0


@dataclass(frozen=True)
class Facts:
    """Everything that was found."""

    database: str
    job: Job
    leader: Leader
    schema_problem: str = ""
    modules: str = ""  # beside Odoo: those on their way in or out, for which jobs wait
    parents: Some = Some()  # those that are not done
    roots: Some = Some()  # jobs above that are not done, and do not wait for others themselves
    better: Some = Some()  # ready jobs of its stored channel that start before it
    running: tuple[Other, ...] = ()  # in every database that the supervisor serves
    failed: tuple[Other, ...] = ()  # in sequential channels on its way
    delayed: tuple[Other, ...] = ()  # there too, with a key before its own
    starts: tuple[
        tuple[str, float], ...
    ] = ()  # stored channel and age of the last starts, where that matters
    sessions: Mapping[str, int] = field(default_factory=dict)  # living workers that have worked here, by pool
    pools: Mapping[str, Pool] | None = None  # None: no supervisor was found by its pid file
