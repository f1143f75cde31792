"""The status board: readers see only whole documents and never wait, even if a writer is killed."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading

import pytest

from queuemaster import status_board
from queuemaster.status_board import DispatcherStatus, MasterStatus, NoStatus, StatusBoard


def document(epoch: int, much: int = 0) -> DispatcherStatus:
    """A document that fails to compare equal when it is torn."""
    return {
        "pid": epoch,
        "draining": False,
        "channels": {},
        "databases": {
            "one": {"up": True, "leader": True, "standing_by": False, "standing": "leads", "epoch": epoch}
        },
        "links": {f"channel{number}": {"idle": epoch} for number in range(much)},
    }


def test_nothing_is_there_before_anything_was_written() -> None:
    board = StatusBoard.create()
    assert board.master.read() is None
    assert board.master.age() == math.inf


def test_each_has_a_place_of_its_own() -> None:
    board = StatusBoard.create()
    assert board.dispatcher.write(document(3))
    assert board.master.read() is None
    assert board.dispatcher.read() == document(3)
    assert board.dispatcher.write(document(4))
    assert StatusBoard.view(board.fd).dispatcher.read() == document(4)
    assert board.dispatcher.age() < 60


def test_who_only_reads_cannot_write() -> None:
    board = StatusBoard.view(StatusBoard.create().fd)
    with pytest.raises(TypeError):
        board.dispatcher.write(document(1))


def test_a_reader_never_sees_half_a_document() -> None:
    """Reader and writer share only a descriptor, as two processes do."""
    board = StatusBoard.create()
    finished = threading.Event()

    def write() -> None:
        for number in range(3000):
            board.dispatcher.write(document(number, number % 300))
        finished.set()

    writer = threading.Thread(target=write)
    writer.start()
    last_pid = 0
    while not finished.is_set():
        latest = StatusBoard.view(board.fd).dispatcher.read()
        if latest is not None:
            assert latest == document(latest["pid"], latest["pid"] % 300)
            assert latest["pid"] >= last_pid
            last_pid = latest["pid"]
    writer.join()


def test_a_document_that_is_too_long_leaves_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    board = StatusBoard.create()
    board.dispatcher.write(document(1))
    monkeypatch.setattr(status_board, "_COPY", 100)
    assert not board.dispatcher.write(document(2, 100))
    assert board.dispatcher.read() == document(1)


def test_it_is_found_in_a_running_process() -> None:
    program = "import sys; from queuemaster.status_board import *; board = StatusBoard.create()\n"
    program += "board.master.write({'pid': 7}); print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        document_read: MasterStatus | None = StatusBoard.of_process(process.pid).master.read()
        process.communicate()
    assert document_read is not None
    assert document_read["pid"] == 7


def test_where_there_is_none_that_is_said() -> None:
    with pytest.raises(NoStatus, match=f"process {os.getppid()} has no queuemaster-status"):
        StatusBoard.of_process(os.getppid())
