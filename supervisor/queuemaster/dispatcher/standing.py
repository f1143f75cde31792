"""What we are to a database: which standing may follow which, and the only place where it changes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from queuejobs.shared.log import event
from queuejobs.shared.standing import Standing
from queuejobs.shared.transitions import require_legal

from .hub_protocol import Hub

_log = logging.getLogger("queuemaster.dispatcher")

_AFTER_A_FAILURE = frozenset(Standing)
# From which standing to which; None: the dispatcher has just begun.
TRANSITIONS: Mapping[Standing | None, frozenset[Standing]] = {
    None: frozenset(Standing) - {Standing.QUARANTINED},  # five errors make a quarantine, the first one AWAY
    # a leadership ends with its session, and that is an error or NotServed
    Standing.LEADS: frozenset((Standing.AWAY, Standing.NOT_SERVED, Standing.QUARANTINED)),
    Standing.STANDS_BY: frozenset(Standing) - {Standing.STANDS_BY},
    Standing.AWAY: _AFTER_A_FAILURE,
    Standing.NOT_SERVED: _AFTER_A_FAILURE,
    Standing.QUARANTINED: _AFTER_A_FAILURE,
}


class NotServed(Exception):
    """There is no queue for us in this database now; the message says why."""


class StandingKeeper:
    """The standing of one database. Every change is logged once; the hub is told each new standing, not each reason."""

    def __init__(self, database: int, name: str, hub: Hub) -> None:
        self._database = database
        self._name = name
        self._hub = hub
        self._reason = ""
        self.current: Standing | None = None  # None: not known yet

    def change(self, standing: Standing, reason: str = "", **details: Any) -> None:
        """Change the standing. ``reason``: why it is away, in quarantine or not served; another reason is a change.

        Raises IllegalTransition when it cannot follow the standing before, which is a bug of ours.
        """
        before = self.current
        require_legal(f"standing of database {self._name}", TRANSITIONS, before, standing)
        if (standing, reason) == (before, self._reason):
            return
        self.current, self._reason = standing, reason
        _log_change(standing, self._name, reason, details)
        if standing is not before:
            self._hub.standing(self._database, standing)


def _log_change(standing: Standing, name: str, reason: str, details: Mapping[str, Any]) -> None:
    if standing is Standing.LEADS:
        event(_log, logging.INFO, "leads", db=name, **details)
    elif standing is Standing.STANDS_BY:
        event(_log, logging.INFO, "another dispatcher leads, standing by", db=name)
    elif standing is Standing.AWAY:
        event(_log, logging.WARNING, "database is away", db=name, error=reason, **details)
    elif standing is Standing.QUARANTINED:
        event(_log, logging.ERROR, "database is in quarantine", db=name, error=reason, **details)
    else:
        event(_log, logging.WARNING, "database is not served", db=name, why=reason)
