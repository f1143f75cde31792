"""How things are at this moment: the documents of master and dispatcher, and what the workers count themselves."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from queuejobs.shared.scoreboard import HISTOGRAM, OUTCOMES, Counts, Scoreboard, State
from queuemaster.status_board import DispatcherStatus, MasterStatus, StatusBoard

STALE = 10.0  # seconds without a sign of life
WORKER_STATES = ("booting", "idle", "busy", "leaving", "dead")
_TRIES = 100


class Unsettled(Exception):
    """No consistent picture: entries of the scoreboard change faster than they can be read."""


@dataclass
class Work:
    """What the workers of one channel have done since the master started."""

    outcomes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    duration: list[int] = field(default_factory=lambda: [0] * HISTOGRAM)
    wait: list[int] = field(default_factory=lambda: [0] * HISTOGRAM)

    def add(self, outcomes: list[int], duration: list[int], wait: list[int]) -> None:
        """Of one more worker, or of those that are gone."""
        for name, number in zip(OUTCOMES, outcomes, strict=True):
            self.outcomes[name] += number
        self.duration = [a + b for a, b in zip(self.duration, duration, strict=True)]
        self.wait = [a + b for a, b in zip(self.wait, wait, strict=True)]


@dataclass(frozen=True)
class Situation:
    """``dispatcher``: None when there is no document of it; an old one counts while it is away."""

    master: MasterStatus
    master_age: float  # seconds since its loop turned
    dispatcher: DispatcherStatus | None
    dispatcher_up: bool
    work: dict[str, Work]  # by channel
    workers: Counter[tuple[str, str]]  # by channel and state


def look(status: StatusBoard, scoreboard: Scoreboard) -> Situation | None:
    """None before the master's first document. Raises :class:`Unsettled`."""
    for _ in range(_TRIES):
        master = status.master.read()
        if master is None:
            return None
        alive = _alive(master, scoreboard)
        if alive is None:
            continue  # an entry was given away: what stood there is in the next document, which is there already
        dispatcher = status.dispatcher.read()
        up = (
            dispatcher is not None
            and dispatcher["pid"] == master["children"]["dispatcher"]["pid"]
            and status.dispatcher.age() < STALE
        )
        return Situation(
            master, status.master.age(), dispatcher, up, _work(master, alive), _workers(master, scoreboard)
        )
    raise Unsettled(f"no consistent picture in {_TRIES} tries")


def _alive(master: MasterStatus, scoreboard: Scoreboard) -> list[tuple[str, Counts]] | None:
    """What each living worker counts. None: one of them is not in its entry any more."""
    found = []
    for worker in master["workers"]:
        if worker["state"] != "greeted":
            continue  # it has done nothing yet, or the document has what it had done
        counts = scoreboard.entry(worker["entry"]).counts(worker["generation"])
        if counts is None:
            return None
        found.append((worker["channel"], counts))
    return found


def _work(master: MasterStatus, alive: list[tuple[str, Counts]]) -> dict[str, Work]:
    work: dict[str, Work] = {}
    for channel, tally in master["tally"].items():
        outcomes = [tally["outcomes"][name] for name in OUTCOMES]
        work.setdefault(channel, Work()).add(outcomes, tally["duration"], tally["wait"])
    for channel, counts in alive:
        work.setdefault(channel, Work()).add(*counts)
    return work


def _workers(master: MasterStatus, scoreboard: Scoreboard) -> Counter[tuple[str, str]]:
    counted: Counter[tuple[str, str]] = Counter()
    for worker in master["workers"]:
        state = {"dead": "dead", "greeted": ""}.get(worker["state"], "booting")
        if not state:
            snapshot = scoreboard.entry(worker["entry"]).snapshot()
            # killed between two states: busy is what the master takes it for
            state = (State.BUSY if snapshot is None else snapshot.state).name.lower()
        counted[worker["channel"], state] += 1
    return counted
