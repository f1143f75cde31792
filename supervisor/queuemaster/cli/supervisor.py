"""What a running supervisor shares: its settings, its status board, its scoreboard.

All of them are memory that the master shares with its children; they are found through the master's descriptors, which
its own user and root may open.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from queuejobs.shared.scoreboard import Scoreboard
from queuemaster.cli.output import Failure, Refusal
from queuemaster.cli.pidfile import running_master
from queuemaster.config import compiled
from queuemaster.config.compiled import DatabaseConfig, Settings
from queuemaster.config.dsn import server_key
from queuemaster.status_board import SCOREBOARD, NoStatus, StatusBoard, descriptor_of


@dataclass(frozen=True)
class Supervisor:
    """A supervisor that runs on this machine, by its master."""

    pid: int
    settings: Settings  # with passwords
    board: StatusBoard
    scoreboard: Scoreboard

    def serves(self, database: DatabaseConfig) -> bool:
        """Whether this is one of its databases, even under another name."""
        return server_key(database) in map(server_key, self.settings.databases)


def supervisor_of(pid: int) -> Supervisor:
    """The supervisor whose master has this process id. Raises :class:`NoStatus`."""
    board = StatusBoard.of_process(pid)
    return Supervisor(pid, settings_of(pid), board, Scoreboard.view(descriptor_of(pid, SCOREBOARD)))


def settings_of(pid: int) -> Settings:
    """The settings that a master has in force now. Raises :class:`NoStatus`."""
    fd = descriptor_of(pid, compiled.MEMORY)
    try:
        return Settings.from_descriptor(fd)
    except ValueError as error:  # read in the middle of a reload
        raise NoStatus(f"the master {pid} is about to change its configuration: ask again") from error
    except (KeyError, TypeError) as error:  # options that this version does not have, or misses
        raise NoStatus(f"the master {pid} runs another version of queuemaster: restart it") from error
    finally:
        os.close(fd)


def running_supervisor(pidfile: Path) -> Supervisor | None:
    """The supervisor of this pid file; None when it does not run or may not be read."""
    try:
        return supervisor_of(running_master(pidfile).pid)
    except (Failure, Refusal, NoStatus):
        return None
