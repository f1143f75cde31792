"""Packets between processes, at the end of one of them."""

from __future__ import annotations

import socket

from queuejobs.shared import wire


def test_what_was_said_before_the_end_arrives_though_the_other_has_not_read_all() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    wire.send(theirs, {"type": "released"})
    wire.send(ours, {"type": "retire"})
    theirs.close()
    received = wire.receive(ours)
    assert received is not None
    assert received.message == {"type": "released"}
    assert wire.receive(ours) is None
    ours.close()
