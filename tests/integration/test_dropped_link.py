"""A link to the database that drops all packets silently: no wait on it lasts for ever."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from queuejobs.store.connection import connect
from queuemaster import embedded
from queuemaster.config.compiled import ServerPlan
from queuemaster.dispatcher import native_duties
from queuemaster.gevent_psycopg2 import QUERY_TIMEOUT
from support.postgres import connected
from support.supervised import environment

# A session as the dispatcher opens it, with a shorter timeout.
_PROGRAM = """
import sys
import gevent
from functools import partial
from psycopg2 import OperationalError, extensions
from queuejobs.store.connection import connect
from queuemaster import gevent_psycopg2

connection = connect(sys.argv[1], "a dispatcher")
extensions.set_wait_callback(partial(gevent_psycopg2._wait, timeout=1.0))
connection.autocommit = True
cursor = connection.cursor()
cursor.execute("select 1")
print("answered", flush=True)
sys.stdin.readline()
def tick():
    while True:
        ticks.append(len(ticks))
        gevent.sleep(0.1)
ticks = []
gevent.spawn(tick)
try:
    cursor.execute("select 2")
except OperationalError as error:
    print("others go on" if len(ticks) > 1 else ticks, error, sep="\\n", flush=True)
"""


class Proxy:
    """A proxy that forwards all data until it is told to drop it, without closing either connection."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.swallows = threading.Event()
        self._sockets = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                self._sockets += [near, far]
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not self.swallows.is_set():
                    target.sendall(data)

    def close(self) -> None:
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


@pytest.fixture
def proxy(server_by_tcp: ServerPlan) -> Iterator[Proxy]:
    opened = Proxy(server_by_tcp.port)
    yield opened
    opened.close()


@pytest.fixture
def server_by_tcp(server: ServerPlan) -> Iterator[ServerPlan]:
    """A role with a password, since TCP connections need one."""
    with connected(embedded.dsn(server, "postgres")) as admin, admin.cursor() as cursor:
        cursor.execute("create role over_tcp login password 'over_tcp'")
        yield server
        cursor.execute("drop role over_tcp")


def by_tcp(port: int) -> str:
    return f"host=127.0.0.1 port={port} user=over_tcp password=over_tcp dbname=postgres"


def test_a_link_that_swallows_everything_is_given_up(proxy: Proxy) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, by_tcp(proxy.port)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(),
    ) as dispatcher:  # fmt: skip
        assert dispatcher.stdout is not None
        assert dispatcher.stdout.readline() == "answered\n"
        proxy.swallows.set()
        output, _ = dispatcher.communicate("go on\n", timeout=60)
    assert output.splitlines() == ["others go on", "no answer in 1 s"]


def test_a_link_is_asked_something_even_when_nothing_happens() -> None:
    """The dispatcher's heartbeat uses the link, so a dead link shows within about a minute, not at the next job."""
    assert native_duties.BEAT + QUERY_TIMEOUT <= 90


def test_a_peer_that_is_gone_is_noticed_by_the_kernel(server_by_tcp: ServerPlan) -> None:
    connection = connect(by_tcp(server_by_tcp.port), "a test")
    try:
        with socket.socket(fileno=connection.fileno()) as link:
            assert link.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            idle = link.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            interval = link.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
            probes = link.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)
            assert idle + interval * probes <= 30
            assert link.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
            link.detach()
    finally:
        connection.close()
