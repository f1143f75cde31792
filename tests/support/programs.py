"""Programs of others that judge what we deliver: those of this machine, or the ones that `make test` has fetched."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

FETCHED = Path(__file__).parents[2] / ".venv" / "debian"  # by tests/fetch_programs.sh


def program(name: str, package: str) -> str:
    """Its path; without it the test is skipped, and says which Debian package has it."""
    path = shutil.which(name) or shutil.which(name, path=str(FETCHED))
    if path is None:
        pytest.skip(f"{name} is not there: Debian's package {package} has it")
    return path


def copied(name: str, package: str, directory: Path) -> tuple[str, dict[str, str]]:
    """The same with its environment, where other users may enter too: the checkout may be closed to them."""
    path = program(name, package)
    if FETCHED not in Path(path).parents:
        return path, dict(os.environ)
    shutil.copytree(FETCHED, directory / "debian", symlinks=True)
    return str(directory / "debian" / name), environment(directory / "debian")


def environment(where: Path = FETCHED) -> dict[str, str]:
    """What a fetched program needs to find its libraries."""
    libraries = sorted({str(library.parent) for library in where.rglob("*.so*")})
    return {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(libraries)} if libraries else dict(os.environ)
