"""The master's files, its words for deaths, and its outbox for a peer that does not read."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuejobs.shared import linux, messages, wire
from queuemaster.master import pidfile, register
from queuemaster.master.core.backoff import FREE, LONGEST, Backoff
from queuemaster.master.core.deaths import describe, outcome
from queuemaster.master.links import Outbox, WorkerLinks
from queuemaster.master.pidfile import AlreadyRunning, PidFileError
from queuemaster.master.register import Registered

# the pid file


def test_the_file_says_who_and_the_lock_says_whether(tmp_path: Path) -> None:
    path = tmp_path / "run" / "pid"
    lock = pidfile.acquire(path)
    assert path.read_text() == f"{os.getpid()}\n"
    assert pidfile.owner(path) == os.getpid()
    with pytest.raises(AlreadyRunning, match=f"already running as process {os.getpid()}"):
        pidfile.acquire(path)
    os.close(lock)
    assert pidfile.owner(path) is None, "a stale file: the content counts only while the file is locked"
    os.close(pidfile.acquire(path))


def test_a_stale_file_with_a_longer_pid_is_overwritten_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text("123456789012\n")
    os.close(pidfile.acquire(path))
    assert path.read_text() == f"{os.getpid()}\n"


def test_somebody_elses_file_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_text("buy milk")
    with pytest.raises(PidFileError, match="something else than a pid"):
        pidfile.acquire(path)
    assert path.read_text() == "buy milk"
    with pytest.raises(PidFileError, match="something else than a pid"):
        pidfile.owner(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for path in (tmp_path, tmp_path / "link", tmp_path / "file" / "below"):
        with pytest.raises(PidFileError, match="name a writable place with --pidfile"):
            pidfile.acquire(path)
    assert pidfile.owner(tmp_path / "absent") is None


# the register of child processes


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, start_new_session=True
    ) as process:
        yield process
        process.kill()


def registered(process: subprocess.Popen[bytes]) -> Registered:
    return Registered(process.pid, linux.start_time(process.pid), "worker", True)


def test_survivors_are_those_of_this_boot_that_are_still_the_same(
    tmp_path: Path, child: subprocess.Popen[bytes]
) -> None:
    path = register.path_beside(tmp_path / "pid")
    assert register.survivors(path) == []
    living = registered(child)
    register.write(path, [living, Registered(child.pid, living.start_time + 1, "worker", True)])
    assert register.survivors(path) == [living]
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "boot_id": "another"}))
    assert register.survivors(path) == []
    register.write(path, [living])
    child.kill()
    child.wait()
    assert register.survivors(path) == []


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"children": []}', '{"boot_id": "x", "children": [{"pid": 1}]}']
)
def test_a_register_that_cannot_be_read_names_nobody(tmp_path: Path, content: str) -> None:
    path = tmp_path / "pid.children"
    path.write_text(content)
    assert register.survivors(path) == []


def test_who_outstays_its_time_is_killed(tmp_path: Path, child: subprocess.Popen[bytes]) -> None:
    path = tmp_path / "pid.children"
    register.write(path, [registered(child)])
    lines: list[str] = []
    register.outwait(path, 0.1, lines.append)
    assert child.wait() == -signal.SIGKILL
    assert lines[0] == f"waiting up to 0 s for processes of an earlier master to end: worker {child.pid}"
    assert lines[1] == f"killing worker {child.pid} of an earlier master"


# the outbox


def test_messages_wait_in_order_for_an_end_that_does_not_read() -> None:
    own_end, peer_end = wire.pair()
    outbox = Outbox(own_end)
    for number in range(2000):
        outbox.send(messages.CannotImport(str(number), "x" * 500))
    received = 0
    while received < 2000:
        message = wire.receive(peer_end, set(messages.MESSAGES.values()))
        assert message is not None
        assert message.message == messages.CannotImport(str(received), "x" * 500)
        received += 1
        outbox.flush()
    with pytest.raises(BlockingIOError):
        outbox.receive()
    peer_end.close()
    assert outbox.receive() is None
    outbox.close()


def test_descriptors_wait_as_duplicates_and_none_is_left_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    own_end, peer_end = wire.pair()
    outbox = Outbox(own_end)
    reading, writing = os.pipe()
    for _ in range(300):
        outbox.send(messages.ApplySettings(), [writing])
    os.close(writing)
    first = wire.receive(peer_end, set(messages.MESSAGES.values()))
    assert first is not None
    os.write(first.fds[0], b"through")
    assert os.read(reading, 100) == b"through"
    os.close(first.fds[0])
    peer_end.close()
    outbox.send(messages.ReopenLogs())
    outbox.flush()
    outbox.close()
    assert os.read(reading, 100) == b"", "every duplicate is closed"
    os.close(reading)
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_odd_first_packet_of_a_worker_is_passed_over_and_its_hello_still_counts() -> None:
    """A fork hook of the application runs before our code and may write to any descriptor."""
    with selectors.DefaultSelector() as selector:
        links = WorkerLinks(selector)
        hellos: list[wire.Received] = []
        worker_end, _words = links.open(3, hellos.append)
        for packet in (b"x", b"", messages.encode(messages.Ready())):
            worker_end.send(packet)
            for key, _ in selector.select(0):
                key.data()
            assert hellos == []
        wire.send(worker_end, messages.Hello(17))
        for key, _ in selector.select(0):
            key.data()
        assert [(hello.message, hello.pid) for hello in hellos] == [(messages.Hello(17), os.getpid())]
        assert selector.select(0) == [], (
            "the link now belongs to the dispatcher, so the master does not read it"
        )
        worker_end.close()
        links.forget(3)


def test_a_worker_that_dies_before_its_hello() -> None:
    with selectors.DefaultSelector() as selector:
        links = WorkerLinks(selector)
        hellos: list[wire.Received] = []
        worker_end, _words = links.open(3, hellos.append)
        worker_end.close()
        for key, _ in selector.select(0):
            key.data()
        assert (hellos, selector.select(0)) == ([], [])
        links.forget(3)


# wording and waiting times


@pytest.mark.parametrize(
    ("status", "cause", "short"),
    [
        (9, "worker 7 died: SIGKILL", "SIGKILL"),
        (11 | 0x80, "worker 7 died: SIGSEGV", "SIGSEGV"),
        (3 << 8, "worker 7 exited while busy: code 3", "exit code 3"),
        (0, "worker 7 exited while busy: code 0", "exit code 0"),
        (40, "worker 7 died: signal 40", "signal 40"),
    ],
)
def test_exit_statuses_in_words(status: int, cause: str, short: str) -> None:
    assert describe(7, status) == cause
    assert outcome(status) == short


def test_back_off_doubles_up_to_its_limit() -> None:
    backoff = Backoff()
    waits = []
    for _ in range(2000):
        backoff.died(0.0, useful=False)
        waits.append(backoff.until)
    assert waits[:FREE] == [0.0] * FREE
    assert waits[FREE : FREE + 3] == [0.1, 0.2, 0.4]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST
    backoff.died(5.0, useful=True)
    assert backoff.until == 5.0
