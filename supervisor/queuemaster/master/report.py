"""What the master says of itself: to its service manager at each turn, to the log when it is asked."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence

from queuejobs.shared import log
from queuejobs.shared.log import event
from queuejobs.shared.scoreboard import State
from queuemaster.config.compiled import Settings

from .account import account
from .core.children import Phase
from .core.events import Reading, Role
from .core.pools import WorkerState
from .core.shutdown import RECOVERY_PATIENCE
from .core.supervision import Supervision
from .systemd import Announcer, Notifier

ENDING_PATIENCE = 20.0  # seconds that the processes without jobs may take to end
_log = logging.getLogger("queuemaster.master")
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


def open_log(settings: Settings) -> None:
    """The log as the settings want it; root makes it the file of the user that all others run as."""
    become = account(settings.user, settings.group)
    owner = (become.uid, become.gid) if become else None
    log.configure(settings.log_level, settings.log_format, settings.logfile, settings.log_handlers, owner)


class Reporter:
    """Knows what the dispatcher is to each database; the rest it is shown."""

    def __init__(self, settings: Settings) -> None:
        self.standings: dict[int, str] = {}  # by database: "leads", "stands by", "away"
        self.announcer = Announcer(Notifier.take(os.environ))
        self._reloading = False
        self.configure(settings)

    def configure(self, settings: Settings) -> None:
        """At the start, and when a reload is in force."""
        self._databases = {database.id: database.name for database in settings.databases}
        self._patience = settings.graceful_timeout + RECOVERY_PATIENCE + ENDING_PATIENCE

    def announce(self, core: Supervision, readings: Sequence[Reading]) -> None:
        """To the service manager, if there is one."""
        if core.phase is not Phase.RUNNING:
            self.announcer.stopping(self._patience)
        if core.succession.under_way != self._reloading:
            self._reloading = core.succession.under_way
            (self.announcer.reloading if self._reloading else self.announcer.reloaded)()
        ready = is_ready(core, self._databases, self.standings)
        words = summary(core, readings, self._databases, self.standings)
        self.announcer.look(ready, words, time.monotonic())

    def report(self, core: Supervision, readings: Sequence[Reading]) -> None:
        """Everything, to the log."""
        for text, context in report(core, readings, self._databases, self.standings, time.monotonic()):
            event(_log, logging.INFO, text, **context)
