"""The init script under test: as it is delivered, with the settings of one directory instead of the system's."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import cast

import psutil

from queuemaster.master.pidfile import owner
from support.supervised import APPS, PATIENCE, Supervised

SCRIPT = APPS.parents[1] / "etc" / "queuemaster.init"


class InitScript:
    """Everything of it lies in ``directory``: program, configuration, pid file and log."""

    def __init__(self, directory: Path, dsn: str) -> None:
        self.directory = directory
        self.pidfile = directory / "pid"
        self.program = directory / "queuemaster"
        self.config = directory / "queuemaster.conf"
        self.script = directory / "init"
        self.dsn = dsn
        paths = os.pathsep.join(
            str(APPS.parents[1] / part) for part in ("supervisor", "workers", "tests/apps")
        )
        self.program.write_text(
            f'#!/bin/sh\nPYTHONPATH="{paths}" exec "{sys.executable}" -m queuemaster "$@"\n'
        )
        self.program.chmod(0o755)
        defaults = directory / "default"
        self.set(defaults)
        text, count = re.subn(
            r"^DEFAULTS=.*$", f"DEFAULTS='{defaults}'", SCRIPT.read_text(), flags=re.MULTILINE
        )
        assert count == 1
        self.script.write_text(text)
        self.script.chmod(0o755)
        self.configure("root:1")

    def set(self, defaults: Path, **more: str) -> None:
        """Write the file of settings."""
        settings = {
            "DAEMON": self.program, "CONFIG": self.config, "PIDFILE": self.pidfile, "RUN_AS": "",
            "LOGFILE": self.directory / "log", "DIRECTORY": self.directory, **more,
        }  # fmt: skip
        defaults.write_text("".join(f"{name}='{value}'\n" for name, value in settings.items()))

    def configure(self, channels: str, app: str = "sampleapp") -> None:
        """Write the configuration."""
        self.config.write_text(
            f"[queue_job]\nchannels = {channels}\napp = {app}\ndatabase = {self.dsn}\nhttp =\n"
        )

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it, as init does; both streams are read to their ends, so nobody may have kept them."""
        return subprocess.run(
            [self.script, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False, cwd="/"
        )

    def code(self, *arguments: str) -> int:
        """The exit code of a call."""
        ran = self(*arguments)
        assert "Traceback" not in ran.stderr
        return ran.returncode

    def pid(self) -> int | None:
        """Of the master that runs."""
        return owner(self.pidfile)

    def running(self) -> Supervised:
        """The master that runs, and its processes."""
        # not started by us: only what both kinds of process have is used
        return Supervised(cast(psutil.Popen, psutil.Process(self.pid())), self.directory)

    def end(self) -> None:
        """Whatever still runs, at once."""
        if (pid := self.pid()) is not None:
            process = psutil.Process(pid)
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE)
