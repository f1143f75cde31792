"""The master's shell: system calls around the pure core. It decides nothing."""

from __future__ import annotations

import logging
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from queuejobs.shared import linux, log, messages, wire
from queuejobs.shared.log import event as log_event
from queuejobs.shared.scoreboard import ENTRIES, KillRequest, Scoreboard
from queuemaster import embedded
from queuemaster.config.compiled import Settings
from queuemaster.status_board import StatusBoard

from . import measure, recompile
from .account import account
from .core import events as ev
from .core.events import Limits, Plan, Role
from .core.limits import INTERVAL
from .core.pools import Worker, WorkerState
from .core.supervision import Supervision
from .launch import launch, signal_group
from .links import RoleLinks, WorkerLinks
from .register import Register, path_beside
from .report import Reporter, open_log
from .status_writer import StatusWriter

_log = logging.getLogger("queuemaster.master")
_EVENTS: dict[int, ev.Event] = {
    signal.SIGHUP: ev.Reload(),
    signal.SIGTTIN: ev.ChangeRoot(+1),
    signal.SIGTTOU: ev.ChangeRoot(-1),
}
_HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2)


class Master:
    """One thread, one loop."""

    def __init__(self, settings: Settings, settings_fd: int) -> None:
        self._settings = settings
        self._settings_fd = settings_fd
        self._board = Scoreboard.create()
        self._status = status = StatusBoard.create()
        self._shared = {"scoreboard": self._board.fd, "status": status.fd}
        self._status_writer = StatusWriter(status)
        roles = (Role.SERVER,) if settings.server is not None else ()
        self._core = Supervision((*roles, Role.TEMPLATE, Role.DISPATCHER), _plan(settings), ENTRIES)
        self._selector = selectors.DefaultSelector()
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._roles = RoleLinks(self._selector, self._hear)
        self._links = WorkerLinks(self._selector)
        self._next_look = 0.0
        self._readings: tuple[ev.Reading, ...] = ()
        self._account = account(settings.user, settings.group)
        self._reporter = Reporter(settings)
        self._compilation: recompile.Compilation | None = None
        self._coming: tuple[Settings, int] | None = None  # compiled, and its descriptor, until it is in force
        self._server_pid = 0  # while it starts
        self._exit: int | None = None
        self._register = Register(path_beside(Path(settings.pidfile))) if settings.pidfile else None
        self._wake, self._wakeup = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def run(self) -> int:
        """Supervise until told to end; returns the exit status."""
        linux.adopt_orphans()
        linux.set_title("queuemaster: master")
        self._listen_to_signals()
        self._selector.register(self._wake, selectors.EVENT_READ, self._on_signals)
        server = self._settings.server
        if server is not None and server.pid:
            self._happened(ev.Started(Role.SERVER, server.pid))
            self._happened(ev.Ready(Role.SERVER))
        self._happened(ev.Tick())
        while self._exit is None:
            self._turn()
        self._write_register()
        return self._exit

    def _turn(self) -> None:
        now = time.monotonic()
        timeout = min(max(self._core.next_deadline(now) - now, 0.0), self._reporter.announcer.wait(now))
        for key, _ in self._selector.select(0.02 if self._server_pid else timeout):
            if self._selector.get_map().get(key.fd) == key:  # not closed by an event of this very turn
                key.data()
        self._roles.flush()
        server = self._settings.server
        if self._server_pid and server and embedded.is_ready(server, self._server_pid):
            self._server_pid = 0
            self._happened(ev.Ready(Role.SERVER))
        self._look()
        self._happened(ev.Tick())
        self._write_register()
        self._status_writer.look(self._core, time.monotonic())
        self._reporter.announce(self._core, self._readings)

    def _reopen_logs(self) -> None:
        log.reopen()
        log_event(_log, logging.INFO, "logs reopened")
        for role in (Role.TEMPLATE, Role.DISPATCHER, Role.EXPORTER):  # workers look for themselves
            self._roles.send(role, messages.ReopenLogs())

    def _look(self) -> None:
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + INTERVAL
            self._readings = measure.read_all(self._board, self._core.pools.alive())
            self._happened(ev.Seen(self._readings, self._status.dispatcher.age()))

    def _happened(self, event: ev.Event) -> None:
        for action in self._core.handle(event, time.monotonic()):
            self._do(action)

    def _do(self, action: ev.Action) -> None:
        _DO[type(action)](self, action)

    # signals

    def _listen_to_signals(self) -> None:
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        for signum in (*_HANDLED, *_EVENTS):
            signal.signal(signum, lambda _signum, _frame: None)  # the wakeup descriptor tells the loop
        # the command blocked them before it became the master, so that none is lost in between
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def _on_signals(self) -> None:
        numbers = set(os.read(self._wake, 4096))
        if signal.SIGCHLD in numbers:
            self._reap()
        if signal.SIGUSR1 in numbers:
            self._reopen_logs()
        if signal.SIGUSR2 in numbers:
            self._reporter.report(self._core, measure.read_all(self._board, self._core.pools.alive()))
        for signum in numbers & set(_EVENTS):
            self._happened(_EVENTS[signum])
        if numbers & {signal.SIGINT, signal.SIGQUIT}:
            self._happened(ev.EndNow())
        elif signal.SIGTERM in numbers:
            self._happened(ev.EndSoon())

    def _reap(self) -> None:
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            pid = ended.si_pid
            worker = self._core.pools.by_pid(pid)
            if worker is not None:
                # the job's own children, while the pid is still taken and the group surely the worker's
                signal_group(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            process = self._processes.pop(pid, None)
            if self._compilation is not None and pid == self._compilation.process.pid:
                self._compiled(self._compilation, status)
                continue
            if process is not None:
                process.returncode = status  # ours to reap: Popen must not wait for a pid that is gone
            role = next((role for role, child in self._core.children.items() if child.pid == pid), None)
            if role is not None:
                self._roles.drop(role)
            self._happened(ev.Reaped(pid, status) if worker is None else self._obituary(worker, status))

    def _obituary(self, worker: Worker, status: int) -> ev.Reaped:
        words = self._links.last_words(worker.entry)
        if words:
            log_event(_log, logging.ERROR, "worker's last words", worker=worker.pid, words=words)
        return measure.obituary(self._board, worker, status, words)

    # processes

    def _do_exec(self, action: ev.Exec) -> None:
        if action.role is Role.SERVER:
            assert self._settings.server is not None
            process = embedded.start(self._settings.server)
            self._server_pid = process.pid
        else:
            process = self._spawn(action.role)
        self._processes[process.pid] = process
        self._happened(ev.Started(action.role, process.pid))

    def _spawn(self, role: Role) -> subprocess.Popen[bytes]:
        settings, settings_fd = self._settings, self._settings_fd
        if role is Role.SUCCESSOR:
            assert self._coming is not None
            settings, settings_fd = self._coming
        if role is Role.DISPATCHER:
            self._reporter.standings.clear()
        with self._roles.open(role) as theirs:
            return launch(role, settings, settings_fd, self._shared, theirs, self._account)

    def _hear(self, role: Role | None, message: messages.Message) -> None:
        """What a process of a role says."""
        if isinstance(message, messages.Ready):
            if role is not None:
                self._happened(ev.Ready(role))
        else:
            _HEAR[type(message)](self, message)

    def _hear_cannot_import(self, message: messages.CannotImport) -> None:
        self._happened(ev.Broken(f"module {message.module}: {message.error}"))

    def _hear_forked(self, message: messages.Forked) -> None:
        self._happened(ev.Named(message.entry, message.generation, message.pid))

    def _hear_worker_recovered(self, message: messages.WorkerRecovered) -> None:
        self._happened(ev.Recovered(message.entry, message.generation))

    def _hear_database_standing(self, message: messages.DatabaseStanding) -> None:
        self._reporter.standings[message.database] = message.standing.value

    def _hear_workers_wanted(self, message: messages.WorkersWanted) -> None:
        self._happened(ev.Wanted(message.channels))

    def _hear_reload_wanted(self, _message: messages.ReloadWanted) -> None:
        self._happened(ev.Reload())

    def _hear_cancel_run(self, message: messages.CancelRun) -> None:
        worker = self._core.pools.match(message.entry, message.generation)
        reading = None if worker is None else measure.read(self._board, worker)
        if reading is not None:
            self._happened(ev.CancelWanted(reading, message.job, message.attempt))

    # reload

    def _do_compile(self, action: ev.Compile) -> None:
        self._compilation = recompile.start(self._settings.command)

    def _compiled(self, compilation: recompile.Compilation, status: int) -> None:
        compilation.process.returncode = status
        self._compilation = None
        try:
            settings, warnings = recompile.finish(compilation, status, self._settings)
        except recompile.Refused as refused:
            log_event(_log, logging.ERROR, "configuration refused", reason=str(refused))
            self._happened(ev.Compiled(None))
            return
        if warnings:
            log_event(_log, logging.WARNING, "configuration has warnings", warnings=warnings)
        self._coming = settings, settings.to_descriptor()
        os.set_inheritable(self._coming[1], False)
        self._happened(ev.Compiled(_plan(settings)))

    def _do_succeed(self, action: ev.Succeed) -> None:
        assert self._coming is not None
        os.close(self._settings_fd)
        (self._settings, self._settings_fd), self._coming = self._coming, None
        open_log(self._settings)
        self._reporter.configure(self._settings)
        self._roles.succeed()

    def _do_discard(self, action: ev.Discard) -> None:
        if self._coming is not None:
            os.close(self._coming[1])
            self._coming = None

    def _do_tell_settings(self, action: ev.TellSettings) -> None:
        self._roles.send(Role.DISPATCHER, messages.ApplySettings(), [self._settings_fd])

    def _do_tell_retire(self, action: ev.TellRetire) -> None:
        self._roles.send(Role.DISPATCHER, messages.RetireGenerations(action.generation))

    def _do_tell_root(self, action: ev.TellRoot) -> None:
        self._roles.send(Role.DISPATCHER, messages.ChangeRootCapacity(action.change))

    # workers

    def _do_fork(self, action: ev.Fork) -> None:
        deadline = time.monotonic_ns() + int(self._settings.heartbeat_timeout * 1e9)
        self._status_writer.before_reuse(self._core, time.monotonic())
        self._board.entry(action.entry).reserve(action.generation, deadline)
        theirs, words = self._links.open(action.entry, lambda received: self._hear_hello(action, received))
        with theirs:
            patience = self._core.limits.boot_timeout / 2
            request = messages.Fork(action.entry, action.generation, action.channel, os.getpid(), patience)
            self._roles.send(Role.TEMPLATE, request, [theirs.fileno(), words])

    def _hear_hello(self, action: ev.Fork, received: wire.Received) -> None:
        assert isinstance(received.message, messages.Hello)
        self._board.entry(action.entry).name(received.pid)
        start_time = received.message.start_time
        self._happened(ev.Hello(action.entry, action.generation, received.pid, start_time))

    def _do_forget(self, action: ev.Forget) -> None:
        self._links.forget(action.entry)

    def _do_introduce(self, action: ev.Introduce) -> None:
        message = messages.HandOverWorker(
            action.entry, action.generation, action.channel, action.pid, action.start_time
        )
        self._roles.send(Role.DISPATCHER, message, [self._links.descriptor(action.entry)])

    def _do_tell_death(self, action: ev.TellDeath) -> None:
        message = messages.WorkerDied(
            action.entry, action.generation, action.pid, action.start_time,
            action.database, action.job, action.attempt, action.cause, action.detail, action.kind,
        )  # fmt: skip
        self._roles.send(Role.DISPATCHER, message)

    def _do_tell_begin(self, action: ev.TellBegin) -> None:
        self._roles.send(Role.DISPATCHER, messages.Begin())

    def _do_tell_drain(self, action: ev.TellDrain) -> None:
        self._roles.send(Role.DISPATCHER, messages.Drain())

    # the rest

    def _do_signal(self, action: ev.Signal) -> None:
        # the pid is a child that is not reaped yet, so it cannot belong to another process
        (signal_group if action.group else os.kill)(action.pid, action.signum)

    def _do_ask_to_stop(self, action: ev.AskToStop) -> None:
        request = KillRequest(action.job, action.attempt, action.cause, action.value)
        self._board.entry(action.entry).ask_to_stop(request)
        os.kill(action.pid, signal.SIGUSR1)

    def _do_log(self, action: ev.Log) -> None:
        log_event(_log, action.level, action.text, **dict(action.context))

    def _do_exit(self, action: ev.Exit) -> None:
        self._exit = action.status

    def _write_register(self) -> None:
        """Write down all children that must not outlive us, in case we are killed."""
        if self._register is None:
            return
        pids = [(child.pid, role.value, False) for role, child in self._core.children.items() if child.pid]
        pids += [
            (worker.pid, "worker", True)
            for worker in self._core.pools.alive()
            if worker.pid and worker.state is WorkerState.GREETED
        ]
        self._register.update(pids)


def _plan(settings: Settings) -> Plan:
    limits = Limits(settings.graceful_timeout, settings.heartbeat_timeout, settings.kill_grace)
    return Plan(settings.pools, settings.max_workers, limits, bool(settings.http))


_DO: dict[type[ev.Action], Callable[[Master, Any], None]] = {
    ev.Exec: Master._do_exec,
    ev.Fork: Master._do_fork,
    ev.Signal: Master._do_signal,
    ev.AskToStop: Master._do_ask_to_stop,
    ev.Introduce: Master._do_introduce,
    ev.TellDeath: Master._do_tell_death,
    ev.TellBegin: Master._do_tell_begin,
    ev.TellDrain: Master._do_tell_drain,
    ev.TellSettings: Master._do_tell_settings,
    ev.TellRetire: Master._do_tell_retire,
    ev.TellRoot: Master._do_tell_root,
    ev.Compile: Master._do_compile,
    ev.Succeed: Master._do_succeed,
    ev.Discard: Master._do_discard,
    ev.Forget: Master._do_forget,
    ev.Log: Master._do_log,
    ev.Exit: Master._do_exit,
}
_HEAR: dict[type[messages.Message], Callable[[Master, Any], None]] = {
    messages.CannotImport: Master._hear_cannot_import,
    messages.Forked: Master._hear_forked,
    messages.WorkerRecovered: Master._hear_worker_recovered,
    messages.DatabaseStanding: Master._hear_database_standing,
    messages.WorkersWanted: Master._hear_workers_wanted,
    messages.ReloadWanted: Master._hear_reload_wanted,
    messages.CancelRun: Master._hear_cancel_run,
}
