"""What a running supervisor knows of itself: its settings, its status board, its scoreboard.

All of it is in memory that the master shares with its children; it is found through the master's descriptors, as
the same user or as root.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from queuejobs.shared.scoreboard import Scoreboard
from queuemaster.cli.output import Failure, Refusal
from queuemaster.cli.pidfile import find
from queuemaster.config.compiled import DatabaseConfig, Settings
from queuemaster.config.dsn import server_key
from queuemaster.status_board import SCOREBOARD, NoStatus, StatusBoard, descriptor_of

SETTINGS = "queuemaster-settings"


@dataclass(frozen=True)
class Supervisor:
    """A master that runs here."""

    pid: int
    settings: Settings  # with passwords
    board: StatusBoard
    scoreboard: Scoreboard

    def serves(self, database: DatabaseConfig) -> bool:
        """Whether it is one of its databases, by whatever name."""
        return server_key(database) in map(server_key, self.settings.databases)


def supervisor_of(pid: int) -> Supervisor:
    """What the master with this process id shares. Raises :class:`NoStatus`."""
    board = StatusBoard.of_process(pid)
    return Supervisor(pid, settings_of(pid), board, Scoreboard.view(descriptor_of(pid, SCOREBOARD)))


def settings_of(pid: int) -> Settings:
    """The settings that are in force now. Raises :class:`NoStatus`."""
    fd = descriptor_of(pid, SETTINGS)
    try:
        return Settings.from_descriptor(fd)
    except ValueError as error:  # in the middle of a reload
        raise NoStatus(f"the master {pid} is about to change its configuration: ask again") from error
    finally:
        os.close(fd)


def running_supervisor(pidfile: Path) -> Supervisor | None:
    """The one of this pid file, if it runs and may be looked at: for commands that can do without it."""
    try:
        return supervisor_of(find(pidfile).pid)
    except (Failure, Refusal, NoStatus):
        return None
