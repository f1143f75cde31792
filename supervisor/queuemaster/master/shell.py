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

from queuejobs.shared import linux, log, wire
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
from .links import Links, Outbox
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
        self._bulletin = StatusWriter(status)
        roles = (Role.SERVER,) if settings.server is not None else ()
        self._core = Supervision(
            (*roles, Role.TEMPLATE, Role.DISPATCHER), _plan(settings), ENTRIES
        )  # fmt: skip
        self._selector = selectors.DefaultSelector()
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._peers: dict[Role, Outbox] = {}
        self._links = Links(self._selector)
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
        for peer in self._peers.values():
            peer.flush()
        server = self._settings.server
        if self._server_pid and server and embedded.is_ready(server, self._server_pid):
            self._server_pid = 0
            self._happened(ev.Ready(Role.SERVER))
        self._look()
        self._happened(ev.Tick())
        self._write_register()
        self._bulletin.look(self._core, time.monotonic())
        self._reporter.announce(self._core, self._readings)

    def _reopen_logs(self) -> None:
        log.reopen()
        log_event(_log, logging.INFO, "logs reopened")
        for role in (Role.TEMPLATE, Role.DISPATCHER, Role.EXPORTER):  # workers look for themselves
            self._tell(role, {"type": "reopen"})

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
        handler: Callable[[Any], None] = getattr(self, f"_do_{type(action).__name__.lower()}")
        handler(action)

    # signals

    def _listen_to_signals(self) -> None:
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        for signum in (*_HANDLED, *_EVENTS):
            signal.signal(signum, lambda _signum, _frame: None)  # the wakeup descriptor tells the loop
        # the command blocked them before it became us, lest one be lost in between
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
            for role, child in self._core.children.items():
                if child.pid == pid and role in self._peers:
                    self._drop_peer(role)
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
        ours, theirs = wire.pair()
        settings, settings_fd = self._settings, self._settings_fd
        if role is Role.SUCCESSOR:
            assert self._coming is not None
            settings, settings_fd = self._coming
        if role is Role.DISPATCHER:
            self._reporter.standings.clear()
        with theirs:
            process = launch(role, settings, settings_fd, self._shared, theirs, self._account)
        peer = Outbox(ours)
        self._peers[role] = peer
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._hear_role(peer))
        return process

    def _drop_peer(self, role: Role) -> None:
        peer = self._peers[role]
        self._hear_role(peer)  # its last words
        self._close_peer(peer)

    def _hear_role(self, peer: Outbox) -> None:
        while peer.socket.fileno() >= 0:
            try:
                received = peer.receive()
            except BlockingIOError:
                return
            if received is None:
                self._close_peer(peer)  # its death comes as a signal
            else:
                self._understood(peer, received.message)

    def _close_peer(self, peer: Outbox) -> None:
        if peer.socket.fileno() >= 0:
            self._selector.unregister(peer.socket)
            peer.close()
        self._peers = {role: known for role, known in self._peers.items() if known is not peer}

    def _understood(self, peer: Outbox, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "ready":
            for role in [role for role, known in self._peers.items() if known is peer]:
                self._happened(ev.Ready(role))
        elif kind == "broken":
            self._happened(ev.Broken(f"module {message['module']}: {message['error']}"))
        elif kind == "forked":
            self._happened(ev.Named(message["entry"], message["generation"], message["pid"]))
        elif kind == "recovered":
            self._happened(ev.Recovered(message["entry"], message["generation"]))
        elif kind == "standing":
            self._reporter.standings[message["database"]] = message["standing"]
        elif kind == "want":
            self._happened(ev.Wanted(message["channels"]))
        elif kind == "reload":
            self._happened(ev.Reload())
        elif kind == "cancel":
            worker = self._core.pools.match(message["entry"], message["generation"])
            reading = None if worker is None else measure.read(self._board, worker)
            if reading is not None:
                self._happened(ev.CancelWanted(reading, message["job"], message["attempt"]))

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
            log_event(_log, logging.WARNING, "configuration has warnings", said=warnings)
        self._coming = settings, settings.to_descriptor()
        os.set_inheritable(self._coming[1], False)
        self._happened(ev.Compiled(_plan(settings)))

    def _do_succeed(self, action: ev.Succeed) -> None:
        assert self._coming is not None
        os.close(self._settings_fd)
        (self._settings, self._settings_fd), self._coming = self._coming, None
        open_log(self._settings)
        self._reporter.configure(self._settings)
        old = self._peers.pop(Role.TEMPLATE, None)
        self._peers[Role.TEMPLATE] = self._peers.pop(Role.SUCCESSOR)
        if old is not None:
            old.send({"type": "leave"})  # its last answers are still heard; its end closes the socket

    def _do_discard(self, action: ev.Discard) -> None:
        if self._coming is not None:
            os.close(self._coming[1])
            self._coming = None

    def _do_tellsettings(self, action: ev.TellSettings) -> None:
        self._tell(Role.DISPATCHER, {"type": "settings"}, [self._settings_fd])

    def _do_tellretire(self, action: ev.TellRetire) -> None:
        self._tell(Role.DISPATCHER, {"type": "retire", **vars(action)})

    def _do_tellroot(self, action: ev.TellRoot) -> None:
        self._tell(Role.DISPATCHER, {"type": "root", **vars(action)})

    # workers

    def _do_fork(self, action: ev.Fork) -> None:
        deadline = time.monotonic_ns() + int(self._settings.heartbeat_timeout * 1e9)
        self._bulletin.before_reuse(self._core, time.monotonic())
        self._board.entry(action.entry).reserve(action.generation, deadline)
        theirs, words = self._links.open(action.entry, lambda received: self._hear_hello(action, received))
        with theirs:
            self._tell(
                Role.TEMPLATE,
                {
                    "type": "fork", "entry": action.entry, "generation": action.generation,
                    "channel": action.channel, "master": os.getpid(),
                    "patience": self._core.limits.boot_timeout / 2,
                },
                [theirs.fileno(), words],
            )  # fmt: skip

    def _hear_hello(self, action: ev.Fork, received: wire.Received) -> None:
        self._board.entry(action.entry).name(received.pid)
        self._happened(
            ev.Hello(action.entry, action.generation, received.pid, received.message["start_time"])
        )

    def _do_forget(self, action: ev.Forget) -> None:
        self._links.forget(action.entry)

    def _do_introduce(self, action: ev.Introduce) -> None:
        message = {"type": "worker", **vars(action)}
        self._tell(Role.DISPATCHER, message, [self._links.descriptor(action.entry)])

    def _do_telldeath(self, action: ev.TellDeath) -> None:
        self._tell(Role.DISPATCHER, {"type": "died", **vars(action)})

    def _do_tellbegin(self, action: ev.TellBegin) -> None:
        self._tell(Role.DISPATCHER, {"type": "begin"})

    def _do_telldrain(self, action: ev.TellDrain) -> None:
        self._tell(Role.DISPATCHER, {"type": "drain"})

    def _tell(self, role: Role, message: dict[str, Any], fds: list[int] | None = None) -> None:
        peer = self._peers.get(role)
        if peer is not None:  # else it is gone: whatever matters is told to the next one
            peer.send(message, fds or ())

    # the rest

    def _do_signal(self, action: ev.Signal) -> None:
        # the pid is a child that is not reaped, so it cannot be somebody else's
        (signal_group if action.group else os.kill)(action.pid, action.signum)

    def _do_asktostop(self, action: ev.AskToStop) -> None:
        request = KillRequest(action.job, action.attempt, action.cause, action.value)
        self._board.entry(action.entry).ask_to_stop(request)
        os.kill(action.pid, signal.SIGUSR1)

    def _do_log(self, action: ev.Log) -> None:
        log_event(_log, action.level, action.text, **dict(action.context))

    def _do_exit(self, action: ev.Exit) -> None:
        self._exit = action.status

    def _write_register(self) -> None:
        """All children that must not outlive us, in case we are killed."""
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
