"""The template: the application's interpreter with its code imported once, from which workers are forked.

It runs no job, keeps no connection and starts no thread. It forks twice, so that the worker's parent
exits and the kernel gives the worker to the master (a subreaper).
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import functools
import gc
import importlib
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
from typing import Any, Callable, Iterator, List, NoReturn, Tuple

from ..shared import linux, log, messages, wire
from ..shared.log import event
from ..shared.scoreboard import Scoreboard
from . import settings, worker
from .forks import call_application
from .runtimes.odoo import process as odoo_process

ABORT_GRACE = 2.0  # seconds to write the tracebacks
WORDS = 16384  # bytes of them that are logged
LONGEST_REASON = 4000  # characters of why the application cannot be imported
FATAL = {signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}
_log = logging.getLogger("queuemaster.template")


def main() -> NoReturn:
    """Entry point; see bootstrap.py."""
    parser = argparse.ArgumentParser(prog="queuemaster template")
    for name in ("control", "settings", "scoreboard", "master"):
        parser.add_argument(f"--{name}", type=int, required=True)
    arguments = parser.parse_args()
    if not linux.die_with_parent(arguments.master):
        sys.exit(0)
    # the terminal's Ctrl-C is the master's business
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    options = settings.read(arguments.settings)
    log.configure(options.log_level, options.log_format, options.logfile, options.log_handlers)
    linux.set_title("queuemaster: template")
    control = socket.socket(fileno=arguments.control)
    # the first of all hooks: the application's run after it
    os.register_at_fork(after_in_child=_groups.lead)
    _import_application(options, control)
    # the children must not share pages with what the collector moves
    gc.collect()
    gc.freeze()
    wire.send(control, messages.Ready())
    _serve(control, Scoreboard(arguments.scoreboard), options)
    sys.exit(0)


class _Groups:
    """Each process that is forked here leads a group before any hook of the application runs in it.

    So whatever its hooks start is in the group, and goes with it. What a worker forks itself stays in the worker's.
    """

    def __init__(self) -> None:
        self._due = False

    def fork(self) -> int:
        """As os.fork."""
        self._due = True
        try:
            return os.fork()
        finally:
            self._due = False

    def lead(self) -> None:
        """In a child that was just forked: become the leader of a group, if the fork was ours."""
        if self._due:
            self._due = False
            os.setpgid(0, 0)


_groups = _Groups()


def _import_application(options: settings.WorkerSettings, control: socket.socket) -> None:
    sys.path.insert(0, os.getcwd())
    for name, load in _parts(options):
        try:
            call_application(load)
        except BaseException as error:  # an application may also raise SystemExit at import
            _log.exception("cannot import the application: module %s", name)
            words = f"{type(error).__name__}: {error}"
            wire.send(control, messages.CannotImport(name, words[:LONGEST_REASON]))
            sys.exit(messages.EXIT_CANNOT_IMPORT)
    if threading.active_count() > 1:
        names = ", ".join(thread.name for thread in threading.enumerate()[1:])
        event(
            _log,
            logging.WARNING,
            "the application starts threads at import: workers will not have them",
            threads=names,
        )


def _parts(options: settings.WorkerSettings) -> Iterator[Tuple[str, Callable[[], Any]]]:
    if options.odoo:
        yield "odoo", lambda: odoo_process.preload(options.odoo, options.odoo_path, options.databases)
    for name in options.app:
        yield name, functools.partial(importlib.import_module, name)


def _serve(control: socket.socket, board: Scoreboard, options: settings.WorkerSettings) -> None:
    while True:
        received = wire.receive(control, messages.TEMPLATE_READS)
        if received is None:
            return  # the master is gone
        message = received.message
        if isinstance(message, messages.Fork):
            pid = _fork(message, received.fds, control, board, options)
            for fd in received.fds:
                os.close(fd)
            wire.send(control, messages.Forked(message.entry, message.generation, pid))
        elif isinstance(message, messages.ReopenLogs):
            log.reopen()
        elif isinstance(message, messages.Leave):
            return  # another template takes over; what was asked before has been answered


def _fork(
    request: messages.Fork,
    fds: List[int],
    control: socket.socket,
    board: Scoreboard,
    options: settings.WorkerSettings,
) -> int:
    """Fork a worker that is not our child; returns its pid, 0 if that failed.

    The application's fork hooks run in the child before any line of ours, and may hang. A child that hangs there can
    still be told to leave its tracebacks.
    """
    told, tell = os.pipe()
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - FATAL)
    try:
        with _leaving_words_in(fds[1]):
            middle = _groups.fork()
            if middle == 0:
                _fork_again(request, fds, tell, told, control, board, options)
        os.close(tell)
        # not to the end of the pipe: a worker that hangs holds the other end
        if not select.select([told], [], [], request.patience)[0]:
            event(_log, logging.ERROR, "a fork hangs, killed", worker=middle, channel=request.channel)
            _end(middle)
            if words := os.pread(fds[1], WORDS, 0).decode(errors="replace").strip():
                event(_log, logging.ERROR, "worker's last words", worker=middle, words=words)
        os.waitpid(middle, 0)
        os.set_blocking(told, False)
        try:
            return int(os.read(told, 32) or b"0")
        except BlockingIOError:
            return 0
        finally:
            os.close(told)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


@contextlib.contextmanager
def _leaving_words_in(words: int) -> Iterator[None]:
    """Have each process that is forked meanwhile write its tracebacks there at a fatal signal, from its start on."""
    enabled = faulthandler.is_enabled()  # by PYTHONFAULTHANDLER, for one
    faulthandler.enable(words, all_threads=True)
    try:
        yield
    finally:
        if enabled:
            faulthandler.enable(sys.__stderr__ or 2)
        else:
            faulthandler.disable()


def _end(middle: int) -> None:
    """End a child that hangs, and what it has started: SIGABRT for its tracebacks, then SIGKILL. Does not reap it."""
    os.kill(middle, signal.SIGABRT)
    deadline = time.monotonic() + ABORT_GRACE
    how = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while os.waitid(os.P_PID, middle, how) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError):  # it has not come so far as to lead it
        os.killpg(middle, signal.SIGKILL)
    os.kill(middle, signal.SIGKILL)


def _fork_again(
    request: messages.Fork, fds: List[int], tell: int, told: int,
    control: socket.socket, board: Scoreboard, options: settings.WorkerSettings,
) -> NoReturn:  # fmt: skip
    """Run the middle process and the worker. Both leave through os._exit, whatever happens."""
    status = 1
    try:
        pid = _groups.fork()
        if pid == 0:
            # the siblings' descriptors first, else their ends would never be seen closed
            os.close(tell)
            os.close(told)
            control.close()
            link, words = fds
            worker.run(request, socket.socket(fileno=link), words, board, options)
        else:
            os.write(tell, str(pid).encode())
        status = 0
    except BaseException:
        _log.exception("worker ends")
    finally:
        logging.shutdown()
        os._exit(status)
