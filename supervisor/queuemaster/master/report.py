"""How the service is: told to the service manager at each turn of the loop, and to the log at USR2."""

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
    """Whether the application is imported and the standing of each database is known.

    A database that is away does not keep the service from being ready: a restart would not bring it back.
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
    by_database = [f"{name}: {standings.get(index, 'unknown')}" for index, name in databases.items()]
    return "; ".join([f"{core.phase.value}, {len(core.pools.alive())} workers, {busy} busy", *by_database])


def report(
    core: Supervision,
    readings: Sequence[Reading],
    databases: Mapping[int, str],
    standings: Mapping[int, str],
    now: float,
) -> list[Line]:
    """Lines for the log: the processes, the databases, the pools, and each worker with its job."""
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
            lines.append(("status of worker", {**context, **_job(reading, databases, now)}))
    return lines


def _pools(core: Supervision, now: float) -> list[Line]:
    existing = Counter(worker.channel for worker in core.pools.alive())
    lines: list[Line] = []
    for channel in sorted({*core.pools.targets, *existing}):
        context: dict[str, object] = {"channel": channel, "workers": existing[channel]}
        context["kept_ready"] = core.pools.targets.get(channel, 0)
        pause = core.pools.backoffs[channel].until - now if channel in core.pools.backoffs else 0.0
        if pause > 0:
            context["backoff"] = f"{pause:.1f}"
        lines.append(("status of pool", context))
    return lines


def _job(reading: Reading, databases: Mapping[int, str], now: float) -> dict[str, object]:
    snapshot = reading.snapshot
    context: dict[str, object] = {
        "state": snapshot.state.name.lower(),
        "seconds": f"{now - snapshot.since / 1e9:.1f}",
    }
    if snapshot.job:
        # a database that is not served any more has no name here
        name = databases.get(snapshot.database, str(snapshot.database))
        context.update(db=name, job=snapshot.job, attempt=snapshot.attempt)
    return context


def open_log(settings: Settings) -> None:
    """Open the log of the settings. A master that is root gives the file to the user of the other processes."""
    become = account(settings.user, settings.group)
    owner = (become.uid, become.gid) if become else None
    log.configure(settings.log_level, settings.log_format, settings.logfile, settings.log_handlers, owner)


class Reporter:
    """Tells the service manager and the log. It keeps what the dispatcher says of the databases."""

    def __init__(self, settings: Settings) -> None:
        self.standings: dict[int, str] = {}  # by database: a value of Standing
        self.announcer = Announcer(Notifier.take(os.environ))
        self._reloading = False
        self.configure(settings)

    def configure(self, settings: Settings) -> None:
        """These settings are in force from now on."""
        self._databases = {database.id: database.name for database in settings.databases}
        self._patience = settings.graceful_timeout + RECOVERY_PATIENCE + ENDING_PATIENCE

    def announce(self, core: Supervision, readings: Sequence[Reading]) -> None:
        """Tell the service manager, if there is one."""
        if core.phase is not Phase.RUNNING:
            self.announcer.stopping(self._patience)
        if core.succession.under_way != self._reloading:
            self._reloading = core.succession.under_way
            (self.announcer.reloading if self._reloading else self.announcer.reloaded)()
        ready = is_ready(core, self._databases, self.standings)
        status = summary(core, readings, self._databases, self.standings)
        self.announcer.look(ready, status, time.monotonic())

    def report(self, core: Supervision, readings: Sequence[Reading]) -> None:
        """Write the whole report to the log."""
        for text, context in report(core, readings, self._databases, self.standings, time.monotonic()):
            event(_log, logging.INFO, text, **context)
