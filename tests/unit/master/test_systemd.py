"""The messages to a service manager, and when they are sent."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from queuemaster.master.systemd import Announcer, Notifier


@pytest.fixture
def end() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as opened:
        opened.bind("")  # an abstract name that the kernel chooses, since a path may be too long for a socket
        opened.setblocking(False)
        yield opened


def address(end: socket.socket) -> str:
    """The address as a service manager writes it."""
    return f"@{end.getsockname()[1:].decode()}"


def read_messages(end: socket.socket) -> list[str]:
    messages = []
    while True:
        try:
            messages.append(end.recv(4096).decode())
        except BlockingIOError:
            return messages


def test_the_environment_is_taken_and_not_passed_on() -> None:
    environ = {
        "NOTIFY_SOCKET": "/run/x",
        "WATCHDOG_USEC": "3000000",
        "WATCHDOG_PID": str(os.getpid()),
        "A": "b",
    }
    assert Notifier.take(environ).watchdog == 3.0
    assert environ == {"A": "b"}


@pytest.mark.parametrize(
    "environ",
    [{}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}],
)
def test_no_watchdog_is_meant_for_us(environ: dict[str, str]) -> None:
    notifier = Notifier.take(environ)
    assert notifier.watchdog == 0.0
    assert Announcer(notifier).wait(0.0) > 60
    notifier.send("READY=1")  # nobody listens


def test_what_finds_no_room_is_sent_later_in_order(end: socket.socket) -> None:
    notifier = Notifier(address(end))
    for number in range(2000):
        notifier.send(f"X={number}")
    first = read_messages(end)
    assert len(first) < 2000, "the socket took every message: the test proves nothing"
    messages = list(first)
    while len(messages) < 2000:
        notifier.flush()
        later = read_messages(end)
        assert later
        messages += later
    assert messages == [f"X={number}" for number in range(2000)]


def test_each_thing_is_said_in_its_time(end: socket.socket) -> None:
    announcer = Announcer(Notifier(address(end), watchdog=10.0))
    announcer.look(False, "starting", 100.0)
    assert read_messages(end) == ["STATUS=starting", "WATCHDOG=1"]
    assert announcer.wait(101.0) == 4.0
    announcer.look(True, "running", 100.5)
    assert read_messages(end) == [f"READY=1\nMAINPID={os.getpid()}"]
    announcer.look(True, "running", 101.5)
    announcer.look(True, "running", 102.5)
    assert read_messages(end) == ["STATUS=running"]
    announcer.look(True, "running", 105.0)
    assert read_messages(end) == ["WATCHDOG=1"]
    announcer.reloading()
    announcer.reloaded()
    reloading, ready = read_messages(end)
    assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert ready == "READY=1"
    announcer.stopping(2.5)
    announcer.stopping(2.5)
    assert read_messages(end) == ["STOPPING=1\nEXTEND_TIMEOUT_USEC=2500000"]


def test_ready_is_not_said_by_one_that_is_stopping(end: socket.socket) -> None:
    announcer = Announcer(Notifier(address(end)))
    announcer.stopping(1.0)
    announcer.look(True, "", 1.0)
    announcer.reloaded()
    assert read_messages(end) == ["STOPPING=1\nEXTEND_TIMEOUT_USEC=1000000"]
