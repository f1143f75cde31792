"""``queuemaster run --daemon``: go into the background; the caller returns when the supervisor is ready.

The caller's process waits until the start has succeeded or failed, and its exit code tells an init script which. It
listens as a service manager would, on ``NOTIFY_SOCKET``: for the supervisor a daemon is no special case.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

import click

from queuejobs.shared.linux import adopt_orphans
from queuemaster.cli.output import Failure, Refusal

INTERVAL = 0.1  # seconds between two checks whether the supervisor has ended
LINES = 5  # of its log that are shown if it has
_ERROR = re.compile(r' (?:ERROR|CRITICAL) |"level": "(?:ERROR|CRITICAL)"')  # in a log line of either format


def require_log(logfile: str) -> None:
    """Raise Refusal without a log file: in the background there is no terminal to log to."""
    if not logfile:
        raise Refusal("--daemon has no terminal to log to; expected the option logfile (--logfile FILE)")


def detach(logfile: Path) -> Callable[[], None]:
    """Return in a new process with a session of its own and no standard input; in the caller's process never return.

    The function that is returned leaves the terminal. It is called last: errors before it are shown to the caller.
    """
    log_size = logfile.stat().st_size if logfile.exists() else 0
    private = tempfile.mkdtemp(prefix="queuemaster-")  # no other user can send a false READY there
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(os.path.join(private, "ready"))
    adopt_orphans()  # the daemon's parent ends at once: we reap the daemon in its place
    intermediate = os.fork()
    if intermediate == 0:
        os.setsid()
        # the second fork: a process that leads no session cannot get a terminal by opening one
        if os.fork():
            os._exit(0)
        listener.close()
        _redirect_to_null(0)
        return partial(_leave_terminal, os.path.join(private, "ready"))
    try:
        os.waitpid(intermediate, 0)
        click.echo(f"started (pid {_wait_until_ready(listener, logfile, log_size)})")
    except KeyboardInterrupt as error:
        raise Failure(f"it goes on starting in the background; its log is {logfile}") from error
    finally:
        listener.close()
        shutil.rmtree(private)
    raise SystemExit(0)


def _leave_terminal(address: str) -> None:
    """Let go of the terminal, and have the master report to ``address`` when it is ready.

    Only now: an embedded server that we have started would report there, too.
    """
    _redirect_to_null(1, 2)
    os.environ["NOTIFY_SOCKET"] = address
    os.environ.pop("WATCHDOG_USEC", None)


def _redirect_to_null(*descriptors: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for fd in descriptors:
        os.dup2(null, fd)
    if null not in descriptors:
        os.close(null)


def _wait_until_ready(listener: socket.socket, logfile: Path, log_size: int) -> str:
    """The pid of the master, once it is ready. No time limit: importing the application may take long."""
    listener.settimeout(INTERVAL)
    while True:
        with contextlib.suppress(TimeoutError):
            lines = listener.recv(4096).decode().splitlines()
            if "READY=1" in lines:
                return next(line.partition("=")[2] for line in lines if line.startswith("MAINPID="))
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            _raise_failed_start(os.waitstatus_to_exitcode(status), logfile, log_size)


def _raise_failed_start(code: int, logfile: Path, log_size: int) -> NoReturn:
    """Raise Refusal for exit code 2, else Failure, with the lines that the supervisor logged last.

    ``log_size``: bytes that were in the log before this start.
    """
    cause = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
    lines = []
    if logfile.exists():
        with logfile.open(errors="replace") as log:
            log.seek(log_size)
            lines = telling_lines(log.read().splitlines())
    quoted = [f"it logged last (in {logfile}):", *lines] if lines else []
    message = "\n".join([f"not started: it ended before it was ready, {cause}", *quoted])
    raise Refusal(message) if code == Refusal.exit_code else Failure(message)


def telling_lines(lines: list[str]) -> list[str]:
    """The last lines of a log, and before them the last errors: processes that end after an error log more lines."""
    errors = [line for line in lines[:-LINES] if _ERROR.search(line)]
    return errors[-LINES:] + lines[-LINES:]
