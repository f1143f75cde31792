"""Processes that the application forks: none of them ever runs a line of ours, nor touches what is ours.

A forked child has copies of everything: the link to the dispatcher, the database session that runs the job, the
pipe by which signals reach the heartbeat. In the child all of it is made harmless before any other code runs. When the
child comes out of the application's code, by whatever way, it ends there: only the worker itself goes on.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import sys
import threading
import traceback
from typing import Any, Callable, Iterable, NoReturn, Optional, TypeVar

import psycopg2

Result = TypeVar("Result")
_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT, signal.SIGHUP)


def call_application(call: Callable[[], Result]) -> Result:
    """Call code of the application. A process that was forked in it does not return from here: it ends."""
    pid = os.getpid()
    try:
        result = call()
    except BaseException as error:  # whatever brings a child up to here
        if os.getpid() != pid:
            _leave(error)
        raise
    if os.getpid() != pid:
        _leave(None)
    return result


def _leave(error: Optional[BaseException]) -> NoReturn:
    """As the interpreter would end a child that has nothing more to run, but for our exit handlers."""
    status = 0
    try:
        if isinstance(error, SystemExit):
            status = error.code if isinstance(error.code, int) else int(error.code is not None)
        elif error is not None:
            status = 1
            traceback.print_exception(type(error), error, error.__traceback__)
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    finally:
        os._exit(status)


class ForkGuard:
    """Makes what is the worker's harmless in every child that Python forks here."""

    def __init__(self, link: socket.socket, connections: Callable[[], Iterable[Any]]) -> None:
        """``connections``: gives the psycopg2 connections that belong to the worker's jobs."""
        self._link = link
        self._connections = connections

    def install(self) -> None:
        """For the rest of this process's life, in all its children."""
        os.register_at_fork(after_in_child=self._disarm)

    def _disarm(self) -> None:
        """In a child that was just forked, before the application's next line."""
        faulthandler.disable()  # it would write the last words of the worker
        # the pipe is shared: a signal for the child would be taken for one to the worker
        signal.set_wakeup_fd(-1)
        for signum in _SIGNALS:
            signal.signal(signum, signal.SIG_DFL)
        os.close(self._link.detach())  # held open, nobody would notice the end of the worker
        nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for connection in self._connections():
            try:
                # not close(), which says goodbye to the server: from here on the session is out of reach
                os.dup2(nowhere, connection.fileno(), inheritable=False)
            except (psycopg2.Error, OSError):
                continue  # it was closed
        os.close(nowhere)


class Threads:
    """Notices threads that the application's code leaves running: they could use the session of the next job."""

    def __init__(self) -> None:
        self._known = threading.active_count()

    def left(self) -> int:
        """How many more threads there are than when the worker began."""
        return max(threading.active_count() - self._known, 0)
