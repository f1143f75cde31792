"""Exit statuses in words. Pure."""

from __future__ import annotations

import os
import signal


def describe(pid: int, status: int) -> str:
    """``worker 4711 died: SIGSEGV`` or ``worker 4711 exited while busy: code 0``."""
    if os.WIFSIGNALED(status):
        return f"worker {pid} died: {_name(os.WTERMSIG(status))}"
    return f"worker {pid} exited while busy: code {os.waitstatus_to_exitcode(status)}"


def outcome(status: int) -> str:
    """``SIGKILL`` or ``exit code 3``."""
    if os.WIFSIGNALED(status):
        return _name(os.WTERMSIG(status))
    return f"exit code {os.waitstatus_to_exitcode(status)}"


def _name(signum: int) -> str:
    try:
        return signal.Signals(signum).name
    except ValueError:  # real-time signals have no names
        return f"signal {signum}"
