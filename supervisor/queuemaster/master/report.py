"""What the master can say of itself: one line for a service manager, some for the log. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from queuejobs.worker.scoreboard import State

from .children import Phase
from .events import Reading, Role
from .pools import WorkerState
from .supervision import Supervision

Line = tuple[str, dict[str, object]]  # an event of the log and its context


def is_ready(core: Supervision, databases: Mapping[int, str], standings: Mapping[int, str]) -> bool:
    """The application is imported, and each database was led, stood by, or found away.

    One that is away keeps nobody from being ready: to be started again would not bring it back.
    """
    roles = (Role.TEMPLATE, Role.DISPATCHER)
    return (
        core.phase is Phase.RUNNING
        and all(core.children[role].ready for role in roles)
        and standings.keys() >= databases.keys()
    )


def summary(
    core: Supervision, readings: Sequence[Reading], databases: Mapping[int, str], standings: Mapping[int, str]
) -> str:
    """``running, 4 workers, 1 busy; sales: leads``."""
    busy = sum(reading.snapshot.state is State.BUSY for reading in readings)
    said = [f"{name}: {standings.get(index, 'unknown')}" for index, name in databases.items()]
    return "; ".join([f"{core.phase.value}, {len(core.pools.alive())} workers, {busy} busy", *said])


def report(
    core: Supervision,
    readings: Sequence[Reading],
    databases: Mapping[int, str],
    standings: Mapping[int, str],
    now: float,
) -> list[Line]:
    """Everything: the processes, the databases, the pools, each worker and what it is at."""
    pids = {role.value: child.pid or "none" for role, child in core.children.items()}
    lines: list[Line] = [("status", {"phase": core.phase.value, **pids})]
    for index, name in databases.items():
        lines.append(("status of database", {"db": name, "standing": standings.get(index, "unknown")}))
    lines += _pools(core, now)
    by_entry = {reading.entry: reading for reading in readings}
    for worker in core.pools.workers.values():
        context: dict[str, object] = {"worker": worker.pid or "none", "channel": worker.channel}
        reading = by_entry.get(worker.entry)
        if worker.state is not WorkerState.GREETED or reading is None:
            lines.append(("status of worker", {**context, "state": worker.state.value}))
        else:
            lines.append(("status of worker", {**context, **_work(reading, databases, now)}))
    return lines


def _pools(core: Supervision, now: float) -> list[Line]:
    have = Counter(worker.channel for worker in core.pools.alive())
    lines: list[Line] = []
    for channel in sorted({*core.pools.targets, *have}):
        context: dict[str, object] = {"channel": channel, "workers": have[channel]}
        context["kept_ready"] = core.pools.targets.get(channel, 0)
        waiting = core.pools.backoffs[channel].until - now if channel in core.pools.backoffs else 0.0
        if waiting > 0:
            context["backoff"] = f"{waiting:.1f}"
        lines.append(("status of pool", context))
    return lines


def _work(reading: Reading, databases: Mapping[int, str], now: float) -> dict[str, object]:
    last = reading.snapshot
    context: dict[str, object] = {
        "state": last.state.name.lower(),
        "seconds": f"{now - last.since / 1e9:.1f}",
    }
    if last.job:
        name = databases.get(
            last.database, str(last.database)
        )  # the number of one that is not served any more
        context.update(db=name, job=last.job, attempt=last.attempt)
    return context
