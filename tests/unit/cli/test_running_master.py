"""Commands that signal a master, which may end at any moment."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import psutil

from queuemaster.cli.pidfile import RunningMaster


def test_a_signal_is_delivered_and_one_that_comes_too_late_is_no_traceback() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        master = RunningMaster(psutil.Process(process.pid), Path("/run/the.pid"))
        assert (master.pid, master.gone()) == (process.pid, False)
        assert master.send(signal.SIGTERM)
        assert process.wait(timeout=60) == -signal.SIGTERM
    assert master.gone()
    assert not master.send(signal.SIGTERM)
    assert master.just_ended().message == "not running: the master of /run/the.pid has just ended"
    assert master.just_ended().exit_code == 1
