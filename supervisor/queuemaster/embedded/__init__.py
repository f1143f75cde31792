"""The embedded PostgreSQL: found, initialised, started or attached to, stopped.

Standard library only, since the master imports it. ``binaries`` finds the programs, ``server`` runs one server; the
functions here combine both. A lock beside the data directory lets only one process start a server there at a time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from queuemaster.config.compiled import ServerPlan
from queuemaster.config.paths import default_data_dir

from .binaries import EmbeddedError, copy_tree, find_binaries, major, runnable, version
from .server import (
    SUPERUSER,
    attached,
    dsn,
    environment,
    is_ready,
    make_plan,
    postmaster,
    remove_socket_directory,
    start,
    stop,
    wait_ready,
)

__all__ = [
    "EmbeddedError",
    "attached",
    "default_data_dir",
    "dsn",
    "ensure_database",
    "find_binaries",
    "is_ready",
    "prepare",
    "running",
    "server_user",
    "start",
    "stop",
    "temporary",
    "wait_ready",
]

_TEMPORARY_PREFIX = "queuemaster-server-"


def prepare(data_dir: Path, *, fsync: bool = True) -> ServerPlan:
    """Initialise the directory if needed, and plan a server on it. A server that runs there is not considered.

    Raises :class:`EmbeddedError`. Without ``fsync`` the data does not survive a crash of the host.
    """
    with _locked(data_dir):
        return _prepare(data_dir.absolute(), fsync=fsync)


@contextlib.contextmanager
def running(data_dir: Path, *, fsync: bool = True) -> Iterator[ServerPlan]:
    """A server on that directory: the one that runs there, else our own, which is stopped at the end.

    The plan's ``pid`` is the server's. The data is kept.
    """
    process: subprocess.Popen[bytes] | None = None
    with _locked(data_dir):
        plan = _settled(data_dir)
        if plan is None:
            prepared = _prepare(data_dir.absolute(), fsync=fsync)
            process = start(prepared)
            try:
                wait_ready(prepared, process)
            except BaseException:
                _end(process)
                raise
            plan = dataclasses.replace(prepared, pid=process.pid)
    try:
        yield plan
    finally:
        if process is not None:
            _end(process)
            remove_socket_directory(Path(plan.data_dir), plan.uid)


@contextlib.contextmanager
def temporary() -> Iterator[ServerPlan]:
    """A server without durability on a directory of its own; both are removed at the end.

    When this process is killed the server ends with it, and a later call removes the directory.
    """
    _sweep()
    directory, lock = _temporary_directory()
    try:
        with running(directory / "data", fsync=False) as plan:
            yield plan
    finally:
        shutil.rmtree(directory, ignore_errors=True)  # the next sweep tries again what cannot be removed
        os.close(lock)


def ensure_database(plan: ServerPlan, dbname: str = "queuemaster") -> None:
    """Create the database unless it is there. Uses psql, so that no driver is needed here."""
    psql = Path(plan.argv[0]).with_name("psql") if plan.argv else find_binaries() / "psql"
    # of two processes that create it at once, the second finds it or fails on the unique name
    script = (
        "select format('create database %I', :'name')"
        " where not exists (select from pg_database where datname = :'name') \\gexec\n"
    )
    command: list[str | Path] = [
        psql,
        "-X",
        "-q",
        "-v",
        "ON_ERROR_STOP=1",
        "-v",
        f"name={dbname}",
        "-d",
        dsn(plan, "postgres"),
    ]
    ran = subprocess.run(
        command, input=script, capture_output=True, text=True, cwd="/", env=environment(), check=False
    )
    if ran.returncode != 0 and "already exists" not in ran.stderr and "pg_database_datname" not in ran.stderr:
        raise EmbeddedError(
            f"database {dbname} cannot be created in the embedded PostgreSQL: {ran.stderr.strip()}"
        )


@contextlib.contextmanager
def _locked(data_dir: Path) -> Iterator[None]:
    path = data_dir.absolute().with_name(f"{data_dir.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # opened for reading: another user must be able to lock a file that root made
        lock = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise EmbeddedError(f"{error.filename} cannot be made: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _settled(data_dir: Path, timeout: float = 60.0) -> ServerPlan | None:
    """The ready server there, None when none runs. Waits for one that is starting or stopping."""
    deadline = time.monotonic() + timeout
    while (server := postmaster(data_dir)) is not None:
        if server.status == "ready":
            return attached(data_dir)
        if time.monotonic() > deadline:
            raise EmbeddedError(
                f"the server in {data_dir} (process {server.pid}) has been {server.status} for {timeout:g} s"
            )
        time.sleep(0.02)
    return None


def _prepare(data_dir: Path, *, fsync: bool) -> ServerPlan:
    bindir = find_binaries()
    uid, gid = server_user(data_dir)
    if not runnable(bindir, uid, gid):
        bindir = copy_tree(bindir, data_dir.with_name(f"{data_dir.name}.binaries"))
        if not runnable(bindir, uid, gid):
            raise EmbeddedError(f"user {_user_name(uid)} cannot run the copy of PostgreSQL in {bindir}")
    if not (data_dir / "PG_VERSION").exists():
        _initialise(bindir, data_dir, uid, gid)
    made_by = int((data_dir / "PG_VERSION").read_text().partition(".")[0])
    number = version(bindir)
    if made_by != major(number):
        raise EmbeddedError(
            f"{data_dir} was made by PostgreSQL {made_by}, but the programs found are of {number} ({bindir})."
            f" Set QUEUEMASTER_PG_BINDIR to the programs of PostgreSQL {made_by}; to change the version, dump"
            f" the databases with those, move the directory away, and restore into the new one"
        )
    return make_plan(bindir, data_dir, uid, gid, fsync=fsync)


def server_user(data_dir: Path) -> tuple[int, int]:
    """Uid and gid of the server: our own; for root, which PostgreSQL refuses, those of the directory's owner."""
    owner = data_dir.stat() if data_dir.exists() else None
    if os.geteuid() != 0:
        if owner is not None and owner.st_uid != os.geteuid():
            raise EmbeddedError(
                f"{data_dir} belongs to user {_user_name(owner.st_uid)}, you are {_user_name(os.geteuid())}:"
                " run as that user, or choose another directory"
            )
        return os.geteuid(), os.getegid()
    if owner is not None and owner.st_uid != 0:
        return owner.st_uid, owner.st_gid
    if owner is not None and (data_dir / "PG_VERSION").exists():
        raise EmbeddedError(
            f"{data_dir} belongs to root, and PostgreSQL does not run as root: chown -R it to another user"
        )
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return user.pw_uid, user.pw_gid
    raise EmbeddedError(
        "PostgreSQL does not run as root, and there is no user postgres or nobody to run it as"
    )


def _initialise(bindir: Path, data_dir: Path, uid: int, gid: int) -> None:
    """Make the data directory. It gets its name last, when it is complete."""
    if data_dir.exists() and any(data_dir.iterdir()):
        raise EmbeddedError(
            f"{data_dir} is not empty and holds no PostgreSQL data: choose an empty or new directory"
        )
    unfinished = data_dir.with_name(f"{data_dir.name}.new")
    root = os.geteuid() == 0
    try:
        shutil.rmtree(unfinished, ignore_errors=True)  # left by a process that was killed
        unfinished.mkdir(0o700)
        if root:
            os.chown(unfinished, uid, gid)
    except OSError as error:
        raise EmbeddedError(f"{error.filename} cannot be made: {error.strerror}") from error
    command = [str(bindir / "initdb"), "-D", str(unfinished), "-U", SUPERUSER, "-E", "UTF8"]
    # only we reach the private socket; anybody reaches loopback, and is refused there, since no password is set
    command += ["--auth-local=trust", "--auth-host=scram-sha-256"]
    ran = subprocess.run(
        [*command, "--locale=C.UTF-8", "--no-instructions"],
        capture_output=True,
        text=True,
        cwd="/",
        env=environment(),
        check=False,
        user=uid if root else None,
        group=gid if root else None,
        extra_groups=[] if root else None,
    )
    if ran.returncode != 0:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise EmbeddedError(
            f"{data_dir} cannot be initialised as user {_user_name(uid)}: {ran.stderr.strip()}"
            f"\n(every directory above it must be open to that user)"
        )
    unfinished.rename(data_dir)


def _end(process: subprocess.Popen[bytes]) -> None:
    stop(process.pid)
    process.wait()


def _temporary_directory() -> tuple[Path, int]:
    """A new directory, and a descriptor whose lock marks it as in use; the kernel drops the lock with the process."""
    while True:
        directory = Path(tempfile.mkdtemp(prefix=_TEMPORARY_PREFIX))
        # until it is locked, a sweep of another process may remove it as abandoned
        with contextlib.suppress(FileNotFoundError):
            directory.chmod(0o711)  # as root: the server's user may pass through it, not list it
            lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.path.exists(directory):
                return directory, lock
            os.close(lock)


def _sweep() -> None:
    """Remove the temporary directories of processes that were killed: their locks are free."""
    for directory in Path(tempfile.gettempdir()).glob(f"{_TEMPORARY_PREFIX}*"):
        try:
            if directory.lstat().st_uid != os.geteuid():
                continue
            lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue  # removed meanwhile, or no directory
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue  # in use
        else:
            orphan = postmaster(directory / "data")
            if orphan is not None:
                stop(orphan.pid)
            with contextlib.suppress(FileNotFoundError):
                data_dir = directory / "data"
                remove_socket_directory(data_dir, data_dir.stat().st_uid)
            shutil.rmtree(directory, ignore_errors=True)
        finally:
            os.close(lock)


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
