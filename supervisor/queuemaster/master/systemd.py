"""Messages to the service manager: datagrams to the socket that it names (the protocol of systemd's Type=notify)."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping

_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Notifier:
    """The socket. Sending never waits: a message that finds no room is kept and sent later."""

    def __init__(self, address: str = "", watchdog: float = 0.0) -> None:
        # seconds without a sign of life after which the manager kills us; 0: it does not
        self.watchdog = watchdog
        self._address = b"\0" + os.fsencode(address[1:]) if address.startswith("@") else os.fsencode(address)
        self._unsent: list[bytes] = []
        self._socket: socket.socket | None = None
        if address[:1] in ("@", "/"):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)

    @classmethod
    def take(cls, environ: MutableMapping[str, str]) -> Notifier:
        """The notifier that the environment describes. Its variables are removed: children must not use the socket."""
        address, usec, pid = (environ.pop(name, "") for name in _VARIABLES)
        ours = usec.isdigit() and pid in ("", str(os.getpid()))
        return cls(address, int(usec) / 1e6 if ours else 0.0)

    def send(self, *assignments: str) -> None:
        """Send one message of assignments such as ``READY=1``."""
        if self._socket is not None:
            self._unsent.append("\n".join(assignments).encode())
            self.flush()

    def flush(self) -> None:
        """Send what found no room before."""
        while self._unsent and self._socket is not None:
            try:
                self._socket.sendto(self._unsent[0], self._address)
            except BlockingIOError:
                return
            except OSError:
                pass  # the manager does not listen any more: the message has no receiver
            del self._unsent[0]


class Announcer:
    """Decides when to send what. The loop calls :meth:`look` at each turn, so a loop that hangs sends nothing."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._ready = False
        self._stopping = False
        self._status = ""
        self._next_status = 0.0
        self._interval = notifier.watchdog / 2
        self._next_beat = 0.0

    def wait(self, now: float) -> float:
        """Seconds until the next sign of life is due."""
        return max(self._next_beat - now, 0.0) if self._interval else 3600.0

    def look(self, ready: bool, status: str, now: float) -> None:
        """Send ready once, the status when it has changed (at most once a second), and the signs of life."""
        self._notifier.flush()
        if ready and not self._ready and not self._stopping:
            self._ready = True
            self._notifier.send("READY=1", f"MAINPID={os.getpid()}")
        if status != self._status and now >= self._next_status:
            self._status, self._next_status = status, now + 1.0
            self._notifier.send(f"STATUS={status}")
        if self._interval and now >= self._next_beat:
            self._next_beat = now + self._interval
            self._notifier.send("WATCHDOG=1")

    def reloading(self) -> None:
        """The configuration is being read again, until :meth:`reloaded`."""
        usec = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._notifier.send("RELOADING=1", f"MONOTONIC_USEC={usec}")

    def reloaded(self) -> None:
        """The reload is over, whether it succeeded or not."""
        if self._ready:
            self._notifier.send("READY=1")

    def stopping(self, patience: float) -> None:
        """The service ends, which may take ``patience`` seconds: the manager's own limit may be shorter."""
        if not self._stopping:
            self._stopping = True
            self._notifier.send("STOPPING=1", f"EXTEND_TIMEOUT_USEC={int(patience * 1e6)}")
