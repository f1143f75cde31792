"""Packets between two processes, at one end of their socket."""

from __future__ import annotations

import array
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuejobs.shared import messages, wire
from queuejobs.shared.log_limit import LogLimit

WORKERS = Path(__file__).parents[3] / "workers"
RETIRE = messages.Retire()
ALL = frozenset(messages.MESSAGES.values())


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    own_end, peer_end = wire.pair()
    yield own_end, peer_end
    own_end.close()
    peer_end.close()


Ends = tuple[socket.socket, socket.socket]


def test_what_was_said_before_the_end_arrives_though_the_other_has_not_read_all(ends: Ends) -> None:
    own_end, peer_end = ends
    released = messages.Released(1, leaving=False, broken=False)
    wire.send(peer_end, released)
    wire.send(own_end, RETIRE)
    peer_end.close()
    received = wire.receive(own_end, ALL)
    assert received is not None
    assert received.message == released
    assert wire.receive(own_end, ALL) is None


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"x",
        b"\xff\xfe",
        b"[" * 60_000,
        b"null",
        b'{"type": "Retired"}',
        b'{"type": ["Retire"]}',
        b'{"type": "Claimed", "number": 1}',
        b'{"type": "Claimed", "number": true, "job": 1}',
        b'{"type": "Claimed", "number": 1e400, "job": 1}',
        b'{"type": "Claimed", "number": 1' + b"0" * 5000 + b', "job": 1}',
        b'{"type": "Claimed", "number": 1, "job"',
        json.dumps({"type": "Retire", "filler": "x" * messages.LONGEST}).encode(),
    ],
    ids=range(13),
)
def test_what_is_no_message_is_logged_and_passed_over(
    ends: Ends, packet: bytes, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "_refusals", LogLimit())
    own_end, peer_end = ends
    peer_end.send(packet)
    wire.send(peer_end, RETIRE)
    received = wire.receive(own_end, ALL)
    assert received is not None
    assert received.message == RETIRE
    assert [record.getMessage() for record in caplog.records] == ["message refused"]


def test_refusals_are_logged_once_in_a_while(
    ends: Ends, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "_refusals", LogLimit())
    own_end, peer_end = ends
    for _ in range(50):
        peer_end.send(b"garbage")
    wire.send(peer_end, RETIRE)
    assert wire.receive(own_end, ALL) is not None
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("message", "count"), [(RETIRE, 1), (messages.ApplySettings(), 0), (messages.ApplySettings(), 7)]
)
def test_a_message_with_other_descriptors_than_its_own_is_refused_and_none_stays_open(
    ends: Ends, message: messages.Message, count: int
) -> None:
    own_end, peer_end = ends
    before = len(os.listdir("/proc/self/fd"))
    wire.send(peer_end, message, [0] * count)
    wire.send(peer_end, RETIRE)
    received = wire.receive(own_end, ALL)
    assert received is not None
    assert (received.message, received.fds) == (RETIRE, [])
    assert len(os.listdir("/proc/self/fd")) == before


def test_more_descriptors_than_any_message_has_are_refused_and_none_stays_open(ends: Ends) -> None:
    own_end, peer_end = ends
    before = len(os.listdir("/proc/self/fd"))
    wire.send(peer_end, RETIRE, [0] * 100)
    wire.send(peer_end, RETIRE)
    assert wire.receive(own_end, ALL) is not None
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_message_for_another_process_is_refused_and_its_descriptors_are_closed(ends: Ends) -> None:
    own_end, peer_end = ends
    before = len(os.listdir("/proc/self/fd"))
    wire.send(peer_end, messages.ApplySettings(), [0])
    wire.send(peer_end, RETIRE)
    received = wire.receive(own_end, messages.WORKER_READS)
    assert received is not None
    assert received.message == RETIRE
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_empty_packet_with_descriptors_is_no_end(ends: Ends) -> None:
    own_end, peer_end = ends
    before = len(os.listdir("/proc/self/fd"))
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 0]))
    peer_end.sendmsg([b""], [rights])
    peer_end.send(b"")
    wire.send(peer_end, RETIRE)
    received = wire.receive(own_end, ALL)
    assert received is not None
    assert received.message == RETIRE
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    "patching", ["", "from gevent import monkey; monkey.patch_all()"], ids=["plain", "gevent"]
)
def test_the_end_is_the_end_and_an_empty_packet_is_none(patching: str) -> None:
    """In the dispatcher, too, where gevent replaces what the standard library knows of sockets."""
    script = f"""
{patching}
from queuejobs.shared import messages, wire
ours, theirs = wire.pair()
theirs.send(b"")
wire.send(theirs, messages.Retire())
theirs.send(b"")
theirs.close()
received = wire.receive(ours, messages.WORKER_READS)
assert received is not None and received.message == messages.Retire()
assert wire.receive(ours, messages.WORKER_READS) is None
assert wire.receive(ours, messages.WORKER_READS) is None
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60, cwd=WORKERS)
