"""``queuemaster run --daemon``: into the background, and back to the caller when the supervisor is ready.

The caller's process stays as long as the start takes and ends with what became of it, so that an init script knows.
It hears of it as a service manager would, by ``NOTIFY_SOCKET``: the daemon itself does not know that it is one.
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

INTERVAL = 0.1  # seconds between two looks whether it has ended
WORDS = 5  # lines of its log that are shown if it has
_WRONG = re.compile(r' (?:ERROR|CRITICAL) |"level": "(?:ERROR|CRITICAL)"')  # in a log line, of either format


def require_log(logfile: str) -> None:
    """In the background there is no terminal to log to."""
    if not logfile:
        raise Refusal("--daemon has no terminal to log to; expected the option logfile (--logfile FILE)")


def detach(logfile: Path) -> Callable[[], None]:
    """Return in a process of its own session, without a terminal to read from; the caller's does not return.

    What is returned is to be called last: until then what goes wrong is said where the caller sees it.
    """
    written = logfile.stat().st_size if logfile.exists() else 0
    private = tempfile.mkdtemp(prefix="queuemaster-")  # nobody else may say that it is ready
    ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    ear.bind(os.path.join(private, "ready"))
    adopt_orphans()  # the daemon's own parent ends at once; its exit status is for us
    between = os.fork()
    if between == 0:
        os.setsid()
        # not the leader of that session: a terminal that it opens does not become its own
        if os.fork():
            os._exit(0)
        ear.close()
        _redirect(0)
        return partial(_silence, os.path.join(private, "ready"))
    try:
        os.waitpid(between, 0)
        click.echo(f"started (pid {_wait(ear, logfile, written)})")
    except KeyboardInterrupt as error:
        raise Failure(f"it goes on starting in the background; its log is {logfile}") from error
    finally:
        ear.close()
        shutil.rmtree(private)
    raise SystemExit(0)


def _silence(address: str) -> None:
    """No terminal any more; and who we become says when it is ready. An embedded server that we start does not."""
    _redirect(1, 2)
    os.environ["NOTIFY_SOCKET"] = address
    os.environ.pop("WATCHDOG_USEC", None)


def _redirect(*descriptors: int) -> None:
    """These of ours, to nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for fd in descriptors:
        os.dup2(nowhere, fd)
    if nowhere not in descriptors:
        os.close(nowhere)


def _wait(ear: socket.socket, logfile: Path, written: int) -> str:
    """The pid of the one that is ready. How long that takes is the application's business."""
    ear.settimeout(INTERVAL)
    while True:
        with contextlib.suppress(TimeoutError):
            said = ear.recv(4096).decode().splitlines()
            if "READY=1" in said:
                return next(line.partition("=")[2] for line in said if line.startswith("MAINPID="))
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            _ended(os.waitstatus_to_exitcode(status), logfile, written)


def _ended(code: int, logfile: Path, written: int) -> NoReturn:
    """Before it was ready: say so, with what it logged last; by its exit code, whose fault it is."""
    how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
    lines = []
    if logfile.exists():
        with logfile.open(errors="replace") as log:
            log.seek(written)
            lines = words(log.read().splitlines())
    last = [f"it logged last (in {logfile}):", *lines] if lines else []
    said = "\n".join([f"not started: it ended before it was ready, {how}", *last])
    raise Refusal(said) if code == Refusal.exit_code else Failure(said)


def words(lines: list[str]) -> list[str]:
    """The last lines of a log, and before them the last that say what went wrong: others go on ending after it."""
    wrong = [line for line in lines[:-WORDS] if _WRONG.search(line)]
    return wrong[-WORDS:] + lines[-WORDS:]
