"""The service at one moment: the documents of master and dispatcher, and what the workers count themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from queuejobs.shared.scoreboard import Scoreboard, State
from queuejobs.shared.work_counts import WorkCounts
from queuemaster.status_board import DispatcherStatus, MasterStatus, StatusBoard

STALE = 10.0  # seconds without a sign of life
WORKER_STATES = ("booting", "idle", "busy", "leaving", "dead")
_TRIES = 100


class Unsettled(Exception):
    """No consistent picture: entries of the scoreboard change faster than they can be read."""


@dataclass(frozen=True)
class Snapshot:
    """``dispatcher``: None when none has written a document yet; a dispatcher that is gone leaves its last one."""

    master: MasterStatus
    master_age: float  # seconds since its loop turned
    dispatcher: DispatcherStatus | None
    dispatcher_up: bool
    work: dict[str, WorkCounts]  # by channel, since the master started
    workers: Counter[tuple[str, str]]  # by channel and state


def look(status: StatusBoard, scoreboard: Scoreboard) -> Snapshot | None:
    """The service as it is now; None before the master's first document. Raises :class:`Unsettled`."""
    for _ in range(_TRIES):
        master = status.master.read()
        if master is None:
            return None
        living = _counts_of_living(master, scoreboard)
        if living is None:
            continue  # an entry was given to a new worker: the next document, already there, has what stood in it
        dispatcher = status.dispatcher.read()
        up = (
            dispatcher is not None
            and dispatcher["pid"] == master["children"]["dispatcher"]["pid"]
            and status.dispatcher.age() < STALE
        )
        work, workers = _work(master, living), _workers(master, scoreboard)
        return Snapshot(master, status.master.age(), dispatcher, up, work, workers)
    raise Unsettled(f"no consistent picture in {_TRIES} tries")


def _counts_of_living(master: MasterStatus, scoreboard: Scoreboard) -> list[tuple[str, WorkCounts]] | None:
    """Channel and counts of each living worker. None: the entry of one of them has been given to another worker."""
    living = []
    for worker in master["workers"]:
        if worker["state"] != "greeted":
            continue  # it has done nothing yet, or it is dead and counted in the document
        counts = scoreboard.entry(worker["entry"]).counts(worker["generation"])
        if counts is None:
            return None
        living.append((worker["channel"], counts))
    return living


def _work(master: MasterStatus, living: Iterable[tuple[str, WorkCounts]]) -> dict[str, WorkCounts]:
    work = {channel: WorkCounts.from_json(document) for channel, document in master["counters"].items()}
    for channel, counts in living:
        work[channel] = work.get(channel, WorkCounts()) + counts
    return work


def _workers(master: MasterStatus, scoreboard: Scoreboard) -> Counter[tuple[str, str]]:
    numbers: Counter[tuple[str, str]] = Counter()
    for worker in master["workers"]:
        state = {"dead": "dead", "greeted": ""}.get(worker["state"], "booting")
        if not state:
            entry = scoreboard.entry(worker["entry"]).snapshot()
            # a worker that was killed while it changed its entry counts as busy, with the master too
            state = (State.BUSY if entry is None else entry.state).name.lower()
        numbers[worker["channel"], state] += 1
    return numbers
