"""What a notification makes due. Payloads that mean nothing are counted, and logged now and then."""

from __future__ import annotations

import logging
from collections.abc import Callable

from psycopg2.extensions import connection as Connection
from psycopg2.extensions import encodings

from queuejobs.shared.log import event

from .duties import Duty
from .head_table import HeadTable
from .notifications import (
    CancelRequested,
    ChannelChanged,
    ControlChanged,
    EtaChanged,
    JobReady,
    Notification,
    decode,
)  # fmt: skip

LOG_AGAIN = 60.0  # seconds between two log lines about payloads that mean nothing
_log = logging.getLogger("queuemaster.dispatcher")


class OddPayloads:
    """Counts the payloads that mean nothing, so that a role that sends them cannot fill the log."""

    def __init__(self) -> None:
        self._count = 0
        self._log_from = 0.0  # monotonic time

    def add(self, now: float) -> int | None:
        """Another one. When it is time for a log line: how many there were since the last line; else None."""
        self._count += 1
        if now < self._log_from:
            return None
        count, self._count, self._log_from = self._count, 0, now + LOG_AGAIN
        return count


class Listener:
    """The notifications of one database."""

    def __init__(
        self,
        db: str,
        heads: HeadTable,
        control: Duty,
        cancel: Duty,
        promote: Duty,
        is_sequential: Callable[[str], bool],
    ) -> None:
        self._db = db
        self._heads = heads
        self._control = control
        self._cancel = cancel
        self._promote = promote
        self._is_sequential = is_sequential
        self._encodings: tuple[str, ...] = ("utf-8",)
        self._odd = OddPayloads()

    def begin(self, connection: Connection) -> None:
        """A new session."""
        names = [connection.encoding, connection.info.parameter_status("server_encoding") or "UTF8"]
        # a server of SQL_ASCII keeps any bytes; some encodings of servers have no name in Python
        known = {name: encodings[name] for name in names if name in encodings and name != "SQL_ASCII"}
        self._encodings = tuple(known.values())

    def notified(self, payload: str, now: float) -> None:
        """Act on a payload, whatever it is."""
        notification = decode(payload, self._encodings)
        if notification is not None and self._acted_on(notification):
            return
        count = self._odd.add(now)
        if count is not None:
            event(
                _log, logging.WARNING, "not our notification",
                db=self._db, payload=payload[:100], count=count,
            )  # fmt: skip

    def _acted_on(self, notification: Notification) -> bool:
        """Make due what the notification calls for. False if it means nothing in this kind of queue."""
        if isinstance(notification, JobReady):
            self._heads.noticed(notification.channel, notification.key)
        elif isinstance(notification, ChannelChanged):
            self._heads.noticed(notification.channel, None)
        elif isinstance(notification, EtaChanged):
            self._promote.hasten()
            # in any channel: the job may stand before those that are ready in a sequential one
            self._heads.blockers_changed(self._is_sequential)
        elif isinstance(notification, ControlChanged):
            self._control.hasten()
        elif isinstance(notification, CancelRequested):
            self._cancel.hasten()
        else:
            return False
        return True
