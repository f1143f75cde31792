"""The PostgreSQL of a pytest process: one that ends with it, or one that is kept for the next run.

``make t`` sets QUEUEMASTER_TEST_SERVER to a directory. A pytest process, or a worker of xdist, takes the first place in
it that no other process uses, so two of them never share a server. The server of a place is held by a process in the
background, which ends when ``make clean`` says so, or when the directory is gone. The files of a place:

* ``used``: locked by the pytest process that uses the server
* ``held``: locked by the process that holds the server, for as long as it lives; contains its pid
* ``server``: where the server's data is, once it is ready
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg2

from queuemaster import embedded
from queuemaster.config.compiled import ServerPlan
from support.places import memory
from support.postgres import bound_the_log, remove_leftovers
from support.waiting import wait_until

VARIABLE = "QUEUEMASTER_TEST_SERVER"
KEPT_IN = os.environ.get(VARIABLE)
PATIENCE = 60.0
_INTERVAL = 1.0  # seconds between two looks whether the server is still wanted


@contextlib.contextmanager
def session_server() -> Iterator[ServerPlan]:
    """The server for a pytest process: a kept one if QUEUEMASTER_TEST_SERVER is set, else one of its own."""
    with kept_server(Path(KEPT_IN)) if KEPT_IN else temporary_server() as plan:
        yield plan


@contextlib.contextmanager
def temporary_server() -> Iterator[ServerPlan]:
    """A server without durability, in memory if there is room; server and data are gone afterwards."""
    with contextlib.ExitStack() as stack:
        usual, tempfile.tempdir = tempfile.tempdir, memory() or tempfile.tempdir
        try:
            plan = stack.enter_context(embedded.temporary())
        finally:
            tempfile.tempdir = usual
        bound_the_log(plan)
        yield plan


@contextlib.contextmanager
def kept_server(directory: Path) -> Iterator[ServerPlan]:
    """A server that outlives this process, as clean as a new one; nobody else uses it meanwhile."""
    with _free_place(directory) as place:
        plan = _running(place)
        if plan is None:
            plan = _start(place)
        remove_leftovers(plan)
        yield plan


def stop_all(directory: Path) -> None:
    """End the servers of all places, and wait until they have ended."""
    for place in sorted(directory.iterdir()) if directory.exists() else ():
        pid = _holder(place)
        if pid:
            os.kill(pid, signal.SIGTERM)
        _wait_for_end(place)


@contextlib.contextmanager
def _free_place(directory: Path) -> Iterator[Path]:
    for number in itertools.count():
        place = directory / str(number)
        place.mkdir(parents=True, exist_ok=True)
        with (place / "used").open("w") as used:
            try:
                fcntl.flock(used, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield place
            return


def _running(place: Path) -> ServerPlan | None:
    """The server of a place, if it answers. After a crash or a reboot the file names one that is gone, or going."""
    if _holder(place) is None:
        return None
    try:
        plan = embedded.attached(Path((place / "server").read_text()))
        if plan is not None:
            psycopg2.connect(embedded.dsn(plan, "postgres")).close()
    except (FileNotFoundError, psycopg2.OperationalError):
        return None
    return plan


def _start(place: Path) -> ServerPlan:
    _wait_for_end(place)  # a holder that has lost its server is about to end
    (place / "server").unlink(missing_ok=True)
    log = place / "log"
    with log.open("w") as stream:
        subprocess.run(
            [sys.executable, "-m", "support.testserver", "hold", str(place)],
            stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, cwd="/", check=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,  # Ctrl-C is for the tests
        )  # fmt: skip
    return wait_until(
        lambda: _running(place), PATIENCE, lambda: f"a test server; it says:\n{log.read_text()}"
    )


def hold(place: Path) -> None:
    """In the background: hold a server until SIGTERM, until it is dead, or until the place is gone."""
    if os.fork():
        return
    held = os.open(place / "held", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.ftruncate(held, 0)
    os.write(held, str(os.getpid()).encode())
    ending = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    with temporary_server() as plan:
        unfinished = place / "server.new"
        unfinished.write_text(plan.data_dir)
        unfinished.rename(place / "server")
        while _is_at(place / "held", held) and embedded.attached(Path(plan.data_dir)) is not None:
            if signal.sigtimedwait(ending, _INTERVAL) is not None:
                break


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the file of this name is still the one that is open."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _holder(place: Path) -> int | None:
    """The pid of the process that holds a server there; 0 if it has not written it yet, None if there is none."""
    with contextlib.suppress(FileNotFoundError), (place / "held").open() as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(stream.read() or 0)
    return None


def _wait_for_end(place: Path) -> None:
    wait_until(lambda: _holder(place) is None, PATIENCE, lambda: f"the end of process {_holder(place)}")


if __name__ == "__main__":
    {"hold": hold, "stop": stop_all}[sys.argv[1]](Path(sys.argv[2]))
