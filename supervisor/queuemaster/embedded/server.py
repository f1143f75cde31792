"""One PostgreSQL server of ours: planned, started, watched, stopped.

Standard library only: the master imports it, to start the server again when it dies. The server ends with its parent:
the kernel sends it SIGINT (fast shutdown) when the thread that started it ends, so a killed master leaves none behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time
import zlib
from pathlib import Path
from typing import NamedTuple

from queuemaster.config.compiled import ServerPlan

from .binaries import EmbeddedError

SUPERUSER = "postgres"
LOG_NAME = "server.log"
_LOG_LIMIT = 10 * 1024 * 1024
_PR_SET_PDEATHSIG = 1
_SOCKET_PATH_LIMIT = 107  # of sockaddr_un, without the terminating zero
_PORTS = range(20_000, 32_000)  # below the range that the kernel gives to outgoing connections
_libc = ctypes.CDLL(None, use_errno=True)  # loaded now: nothing may be loaded between fork and exec


class Postmaster(NamedTuple):
    """A server, from the file postmaster.pid in its data directory."""

    pid: int
    port: int
    socket_dir: str
    status: str  # starting, ready, stopping, standby


def make_plan(bindir: Path, data_dir: Path, uid: int, gid: int, *, fsync: bool) -> ServerPlan:
    """The plan of a server on an initialised directory, with a free port."""
    sockets = socket_directory(data_dir, uid, gid)
    port = _free_port(str(data_dir))
    options = {"listen_addresses": "127.0.0.1", "max_connections": "200"}
    if not fsync:
        options.update(fsync="off", full_page_writes="off")
    argv = [str(bindir / "postgres"), "-D", str(data_dir), "-k", sockets, "-p", str(port)]
    for name, value in options.items():
        argv += ["-c", f"{name}={value}"]
    return ServerPlan(tuple(argv), str(data_dir), sockets, port, uid, gid)


def start(plan: ServerPlan) -> subprocess.Popen[bytes]:
    """Start the server; its messages go to ``server.log`` in the data directory.

    The caller owns the process: it reaps it, and :func:`is_ready` tells when it can be used.
    """
    if threading.current_thread() is not threading.main_thread():
        raise EmbeddedError("the embedded PostgreSQL must be started from the main thread: it ends with it")
    if not plan.argv:
        raise EmbeddedError(
            f"the server in {plan.data_dir} was started by another process: it cannot become our child"
        )
    parent = os.getpid()

    def follow_parent() -> None:
        # the server must not inherit the signals that we block
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0)
        if os.getppid() != parent:  # the parent died before the line above: no signal will come
            os._exit(1)

    root = os.geteuid() == 0
    log = _open_log(plan)
    try:
        return subprocess.Popen(
            plan.argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=environment(),
            start_new_session=True,  # a terminal's Ctrl-C is for the master: the server stops last
            # runs after the change of user, which would clear the signal; makes a few system calls, no more
            preexec_fn=follow_parent,  # noqa: PLW1509
            user=plan.uid if root else None,
            group=plan.gid if root else None,
            extra_groups=[] if root else None,
        )
    except OSError as error:
        raise EmbeddedError(f"{plan.argv[0]} cannot be run: {error.strerror}") from error
    finally:
        os.close(log)


def is_ready(plan: ServerPlan, pid: int) -> bool:
    """Whether the server started as ``pid`` accepts connections."""
    running = postmaster(Path(plan.data_dir))
    return running is not None and running.pid == pid and running.status == "ready"


def wait_ready(plan: ServerPlan, process: subprocess.Popen[bytes], timeout: float = 60.0) -> None:
    """Wait until the server accepts connections. Raises :class:`EmbeddedError` with the log's end."""
    deadline = time.monotonic() + timeout
    while not is_ready(plan, process.pid):
        if process.poll() is not None:
            raise EmbeddedError(f"PostgreSQL ended while starting ({_log_place(plan)}):\n{_log_end(plan)}")
        if time.monotonic() > deadline:
            raise EmbeddedError(
                f"PostgreSQL was not ready within {timeout:g} s ({_log_place(plan)}):\n{_log_end(plan)}"
            )
        time.sleep(0.01)


def stop(pid: int, timeout: float = 30.0) -> None:
    """Fast shutdown: open transactions are rolled back. After ``timeout`` an immediate one, in the end SIGKILL.

    Returns when the process has ended; one that is our child is left to be reaped.
    """
    for signum, patience in ((signal.SIGINT, timeout), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)
        deadline = time.monotonic() + patience
        while _lives(pid):
            if time.monotonic() > deadline:
                break
            time.sleep(0.01)
        else:
            return
    raise EmbeddedError(f"PostgreSQL (process {pid}) does not end, not even by SIGKILL")


def attached(data_dir: Path) -> ServerPlan | None:
    """The ready server of that directory, also one of another process; its ``argv`` is empty. None: there is none."""
    running = postmaster(data_dir)
    if running is None or running.status != "ready":
        return None
    owner = data_dir.stat()
    return ServerPlan(
        (), str(data_dir), running.socket_dir, running.port, owner.st_uid, owner.st_gid, running.pid
    )


def postmaster(data_dir: Path) -> Postmaster | None:
    """The server of that directory, None when none runs. After a crash the file may name another program's pid."""
    path = data_dir / "postmaster.pid"
    try:
        lines = path.read_text().splitlines()
        server = Postmaster(int(lines[0]), int(lines[3]), lines[4], lines[7].strip())
    except PermissionError as error:
        raise EmbeddedError(f"{path} may not be read: another user runs the server there") from error
    except FileNotFoundError:
        return None
    except (IndexError, ValueError):
        return None  # being written: the server is in its first moments
    try:  # the working directory of a server is its data directory
        is_server = os.path.samefile(f"/proc/{server.pid}/cwd", data_dir)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None  # ended, or the pid is another program's by now
    return server if is_server else None


def dsn(plan: ServerPlan, dbname: str = "queuemaster") -> str:
    """A libpq connection string through the server's private socket."""
    return f"host={_quote(plan.socket_dir)} port={plan.port} user={SUPERUSER} dbname={_quote(dbname)}"


def environment() -> dict[str, str]:
    """Our environment without PG* (meant for another server), without a locale that may not exist, and without the
    socket of the service manager, to which the server would report that the service is ready."""
    others = ("PG", "LC_", "LANG", "NOTIFY_", "WATCHDOG_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    return {**kept, "LC_ALL": "C"}


def socket_directory(data_dir: Path, uid: int, gid: int) -> str:
    """The data directory itself, which is private; when its path is too long, a private directory in /tmp."""
    path = _socket_path(data_dir, uid)
    if path == data_dir:
        return str(path)
    with contextlib.suppress(FileExistsError):
        path.mkdir(0o700)
        os.chown(path, uid, gid)
    if not _is_private(path, uid):
        raise EmbeddedError(
            f"{path} is not a private directory of user {uid}: it is needed for the server's socket,"
            f" since {data_dir} is too long for one. Remove it, or choose a shorter data directory"
        )
    return str(path)


def remove_socket_directory(data_dir: Path, uid: int) -> None:
    """Remove a directory that :func:`socket_directory` made; no server may run there."""
    path = _socket_path(data_dir, uid)
    if path != data_dir and path.exists() and _is_private(path, uid):
        shutil.rmtree(path, ignore_errors=True)


def _socket_path(data_dir: Path, uid: int) -> Path:
    own = os.fsencode(data_dir)
    if len(own) + len("/.s.PGSQL.65535") <= _SOCKET_PATH_LIMIT and not set(own) & set(b',"'):
        return data_dir
    return Path(f"/tmp/queuemaster-{uid}-{zlib.crc32(own):08x}")  # a comma would split the host for libpq


def _is_private(path: Path, uid: int) -> bool:
    facts = path.lstat()
    return stat.S_ISDIR(facts.st_mode) and facts.st_mode & 0o077 == 0 and facts.st_uid == uid


def _free_port(seed: str) -> int:
    # derived from the path: a data directory mostly keeps its port
    first = zlib.crc32(seed.encode()) % len(_PORTS)
    for step in range(len(_PORTS)):
        port = _PORTS[(first + step) % len(_PORTS)]
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise EmbeddedError(f"no free port on 127.0.0.1 between {_PORTS.start} and {_PORTS.stop}")


def _open_log(plan: ServerPlan) -> int:
    path = Path(plan.data_dir, LOG_NAME)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    try:
        log = os.open(path, flags, 0o600)
    except OSError as error:
        raise EmbeddedError(f"{path} cannot be written: {error.strerror}") from error
    if os.fstat(log).st_size > _LOG_LIMIT:
        os.ftruncate(log, 0)
    if os.geteuid() == 0:
        os.fchown(log, plan.uid, plan.gid)
    return log


def _log_place(plan: ServerPlan) -> str:
    return str(Path(plan.data_dir, LOG_NAME))


def _log_end(plan: ServerPlan) -> str:
    lines = Path(plan.data_dir, LOG_NAME).read_text(errors="replace").splitlines()
    return "\n".join(lines[-8:])


def _lives(pid: int) -> bool:
    try:
        line = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return line.rpartition(b")")[2].split()[0] not in (b"Z", b"X")


def _quote(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
