"""Packets that are no messages, sent on the sockets between real processes: no process ends, and jobs go on.

The sockets are private, so the test duplicates them out of the processes, which needs the right to trace them.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.supervised import PATIENCE, Queue, Supervised, queue, supervised
from support.waiting import wait_until

_PIDFD_GETFD = 438
_libc = ctypes.CDLL(None, use_errno=True)

GARBAGE = [
    b"",
    b"\x00",
    b"\xff" * 100,
    b"{",
    b"[]",
    b"null",
    b"[" * 60_000,
    b'{"type":null}',
    b'{"type":"ready"}',
    b'{"type":"Grant"}',
    b'{"type":"Grant","number":"1","database":0,"epoch":1,"channel":"root","job":null,"bound":null,"batch":1,"slice":null}',
    b'{"type":"Released","number":1,"leaving":0,"broken":0}',
    b'{"type":"Fork","entry":1,"generation":1,"channel":"root","master":1,"patience":1}',
    b'{"type":"HandOverWorker","entry":1,"generation":1,"channel":"root","pid":1,"start_time":1}',
    b'{"type":"ApplySettings"}',
    b'{"type":"WorkersWanted","channels":["root"]}',
    b'{"type":"WorkersWanted","channels":{"root":1e9}}',
    b'{"type":"DatabaseStanding","database":0}',
    json.dumps({"type": "Retire", "filler": "x" * 70_000}).encode(),
]


def copies(pid: int) -> Iterator[socket.socket]:
    """Duplicates of a process's packet sockets: a packet sent on one arrives at that process's peer."""
    process = os.pidfd_open(pid)
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            fd = _libc.syscall(_PIDFD_GETFD, process, int(name), 0)
            if fd < 0:
                if ctypes.get_errno() == 1:
                    pytest.skip("this machine does not let us look into our own children (ptrace)")
                continue
            try:
                end = socket.socket(fileno=fd)
            except OSError:  # not a socket
                os.close(fd)
                continue
            with end:
                if (end.family, end.type) == (socket.AF_UNIX, socket.SOCK_SEQPACKET):
                    yield end
    finally:
        os.close(process)


@pytest.fixture
def running(database: str, tmp_path: Path) -> Iterator[Supervised]:
    with supervised(database, tmp_path, "root:2") as service:
        yield service


@pytest.fixture
def jobs(database: str) -> Iterator[Queue]:
    with queue(database) as opened:
        yield opened


ROLES = ("template", "dispatcher", "worker", "master")


@pytest.mark.parametrize("sender", ROLES)
def test_no_process_ends_by_it(running: Supervised, jobs: Queue, sender: str) -> None:
    """Packets of the master reach every other process, and those of the dispatcher the master and the workers.

    Those of the template reach the master, and those of a worker the dispatcher.
    """
    jobs.sample(1).with_delay().write()
    jobs.wait_until_drained()
    pids = {role: running.one(role).pid for role in ROLES[:-1]} | {"master": running.process.pid}
    packets = 0
    for end in copies(pids[sender]):
        for packet in GARBAGE:
            end.send(packet)
            packets += 1
    assert packets >= len(GARBAGE)
    wait_until(lambda: "message refused" in running.log, PATIENCE, lambda: running.log)
    for number in range(2, 30):
        jobs.sample(number).with_delay().write()
    jobs.wait_until_drained()
    assert {role: running.one(role).pid for role in ROLES[:-1]} | {"master": running.process.pid} == pids
    assert jobs.effects() == list(range(1, 30))
    assert "Traceback" not in running.log
