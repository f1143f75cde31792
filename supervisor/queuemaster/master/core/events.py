"""Events (what happens to the master) and actions (what it does): plain values between the pure core and the shell."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from queuejobs.shared.scoreboard import EntrySnapshot
from queuejobs.shared.stop_causes import Cause, DeathKind
from queuejobs.shared.work_counts import WorkCounts

DEFAULT_BOOT_TIMEOUT, LEAST_BOOT_TIMEOUT = 60.0, 10.0  # seconds


class Role(enum.Enum):
    """A process that the master execs itself."""

    SERVER = "server"  # the embedded PostgreSQL
    TEMPLATE = "template"
    SUCCESSOR = "successor"  # the template that will take over, until it is ready
    DISPATCHER = "dispatcher"
    EXPORTER = "exporter"  # nothing depends on it


@dataclass(frozen=True)
class Limits:
    """How long the master waits for workers, in seconds."""

    graceful_timeout: float
    heartbeat_timeout: float  # 0: never
    kill_grace: float

    @property
    def boot_timeout(self) -> float:
        """Seconds that a worker has to say hello."""
        # a start takes longer than a heartbeat, above all on a machine that is just starting other services
        return (
            max(self.heartbeat_timeout, LEAST_BOOT_TIMEOUT)
            if self.heartbeat_timeout
            else DEFAULT_BOOT_TIMEOUT
        )


@dataclass(frozen=True)
class Plan:
    """The part of the configuration that the master itself uses."""

    targets: dict[str, int]  # workers kept ready, by channel
    max_workers: int
    limits: Limits
    exporter: bool = False  # whether there is one


# Events


@dataclass(frozen=True)
class Started:
    """A process of this role was started."""

    role: Role
    pid: int


@dataclass(frozen=True)
class Ready:
    """A process of this role is ready: the server answers, the application is imported, the dispatcher connects."""

    role: Role


@dataclass(frozen=True)
class Broken:
    """The template cannot import the application."""

    reason: str


@dataclass(frozen=True)
class Named:
    """The template forked the worker that it was asked for; pid 0: it could not."""

    entry: int
    generation: int
    pid: int


@dataclass(frozen=True)
class Hello:
    """A worker said hello; the kernel vouches for its pid."""

    entry: int
    generation: int
    pid: int
    start_time: int


@dataclass(frozen=True)
class Run:
    """One attempt at a job of one database."""

    database: int
    job: int
    attempt: int


@dataclass(frozen=True)
class Reaped:
    """A child ended. All but pid and status is read from a worker's entry of the scoreboard."""

    pid: int
    status: int  # as waitpid gives it
    busy: bool = False  # it had a job
    useful: bool = False  # it had brought a job to an end before
    run: Run | None = None  # the run that it died in
    words: str = ""  # the tracebacks that it left
    counts: WorkCounts | None = None  # what it had done before


@dataclass(frozen=True)
class Reading:
    """A worker as it is now."""

    entry: int
    generation: int
    pid: int
    snapshot: EntrySnapshot
    cpu: int = 0  # ns of processor time that it has used in its life; measured only where there is a limit
    memory: int = 0  # private bytes; measured only where there is a limit


@dataclass(frozen=True)
class Seen:
    """All workers that said hello, as they are now."""

    readings: tuple[Reading, ...]
    dispatcher: float = 0.0  # seconds since the dispatcher's last sign of life


@dataclass(frozen=True)
class CancelWanted:
    """A user cancelled the job that this worker runs."""

    reading: Reading
    job: int
    attempt: int


@dataclass(frozen=True)
class Recovered:
    """The dispatcher has put back what a dead worker left."""

    entry: int
    generation: int


@dataclass(frozen=True)
class Wanted:
    """How many workers the dispatcher could use now, by channel, existing ones included."""

    channels: dict[str, int]


@dataclass(frozen=True)
class EndSoon:
    """TERM: let running jobs finish, within ``graceful_timeout``. The second one means the same as :class:`EndNow`."""


@dataclass(frozen=True)
class EndNow:
    """INT, QUIT: do not wait for running jobs."""


@dataclass(frozen=True)
class Reload:
    """HUP: compile the configuration again."""


@dataclass(frozen=True)
class Compiled:
    """The configuration was compiled. ``plan`` None: it is refused; the reason has been logged."""

    plan: Plan | None


@dataclass(frozen=True)
class ChangeRoot:
    """TTIN, TTOU: one slot of root more, one less."""

    change: int


@dataclass(frozen=True)
class Tick:
    """Time has passed."""


Event = (
    Started | Ready | Broken | Named | Hello | Reaped | Seen | CancelWanted | Recovered | Wanted | Reload | Compiled
    | ChangeRoot | EndSoon | EndNow | Tick
)  # fmt: skip


# Actions


@dataclass(frozen=True)
class Exec:
    """Start a process of this role."""

    role: Role


@dataclass(frozen=True)
class Fork:
    """Reserve the entry, open the worker's link, ask the template to fork the worker."""

    entry: int
    generation: int
    channel: str


@dataclass(frozen=True)
class Signal:
    """Send a signal to a child, or to its whole group."""

    pid: int
    signum: int
    group: bool


@dataclass(frozen=True)
class AskToStop:
    """Write a kill request into the worker's entry and wake the thread that reads it."""

    entry: int
    pid: int
    job: int
    attempt: int
    cause: Cause
    value: int


@dataclass(frozen=True)
class Introduce:
    """Hand the worker's link to the dispatcher."""

    entry: int
    generation: int
    channel: str
    pid: int
    start_time: int


@dataclass(frozen=True)
class TellDeath:
    """Tell the dispatcher of a dead worker. ``cause`` None: an interruption, no try is counted."""

    entry: int
    generation: int
    pid: int
    start_time: int
    database: int
    job: int
    attempt: int
    cause: str | None
    detail: str
    kind: DeathKind


@dataclass(frozen=True)
class TellBegin:
    """Tell a new dispatcher that it has been told all workers and deaths, and may lead."""


@dataclass(frozen=True)
class TellDrain:
    """Tell the dispatcher to grant nothing any more."""


@dataclass(frozen=True)
class Compile:
    """Have the command line compile the configuration again."""


@dataclass(frozen=True)
class Succeed:
    """The new configuration is in force: the successor becomes the template, the old one answers and leaves."""


@dataclass(frozen=True)
class Discard:
    """Forget the new configuration: the old one stays in force."""


@dataclass(frozen=True)
class TellSettings:
    """Hand the dispatcher the configuration in force."""


@dataclass(frozen=True)
class TellRetire:
    """Tell the dispatcher that workers up to this generation run old code: they leave as they become idle."""

    generation: int


@dataclass(frozen=True)
class TellRoot:
    """Tell the dispatcher how many slots of root there are beyond those configured; negative: fewer."""

    change: int


@dataclass(frozen=True)
class Forget:
    """Close the master's end of the link of the entry's worker, which is gone."""

    entry: int


@dataclass(frozen=True)
class Log:
    """Write a line of the log."""

    level: int
    text: str
    context: tuple[tuple[str, object], ...] = ()


def log(level: int, text: str, **context: object) -> Log:
    """A line of the log with its context, without values that are None."""
    return Log(level, text, tuple((key, value) for key, value in context.items() if value is not None))


@dataclass(frozen=True)
class Exit:
    """Every process has ended: end too."""

    status: int


Action = (
    Exec | Fork | Signal | AskToStop | Introduce | TellDeath | TellBegin | TellDrain | TellSettings | TellRetire
    | TellRoot | Compile | Succeed | Discard | Forget | Log | Exit
)  # fmt: skip
