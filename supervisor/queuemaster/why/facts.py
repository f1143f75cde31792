"""The facts about one job, and about everything that may hold it up. Ages and waits are seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

COUNTED = 10_000  # jobs that come before it are counted up to here


@dataclass(frozen=True)
class Worker:
    """The database session that runs a job."""

    pid: int
    host: str
    alive: bool  # its session holds its lock


@dataclass(frozen=True)
class Job:
    """The job in question."""

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
    unknown_for: float | None = None  # since a worker found its model or method missing
    worker: Worker | None = None
    doomed: bool = False  # it has failed for good; only its on_fail_method is still to be called


@dataclass(frozen=True)
class OtherJob:
    """Another job, with what matters for this one."""

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
    """The leadership of the database."""

    led: bool  # a session holds the lock
    takes_over: bool = False  # that session is not the recorded leader, or not yet
    host: str = ""
    epoch: int = 0
    beat_ago: float | None = None
    stock: bool = False  # beside Odoo: the addon's own runner leads


@dataclass(frozen=True)
class Pool:
    """The workers of one channel, as the running master sees them."""

    target: int
    alive: int
    backoff: float = 0.0  # until the next one is forked


@dataclass(frozen=True)
class FirstJobs:
    """The first of possibly many jobs: ``shown`` are the first of ``count``."""

    shown: tuple[OtherJob, ...] = ()
    count: int = 0


@dataclass(frozen=True)
class Facts:
    """Everything that was read."""

    database: str
    job: Job
    leader: Leader
    schema_problem: str = ""
    modules: str = ""  # beside Odoo: those being installed or removed, for which jobs wait
    parents: FirstJobs = FirstJobs()  # not done yet
    roots: FirstJobs = FirstJobs()  # ancestors that are not done and do not wait for others themselves
    better: FirstJobs = FirstJobs()  # ready jobs of its stored channel that start before it
    running: tuple[OtherJob, ...] = ()  # in every database that the supervisor serves
    failed: tuple[OtherJob, ...] = ()  # in sequential channels that it would run in
    delayed: tuple[OtherJob, ...] = ()  # there too, not due yet, and before it in order
    # stored channel and age of the last starts, where a throttle or a rate needs them
    starts: tuple[tuple[str, float], ...] = ()
    sessions: Mapping[str, int] = field(default_factory=dict)  # live workers that have worked here, by pool
    pools: Mapping[str, Pool] | None = None  # None: no running supervisor was found
