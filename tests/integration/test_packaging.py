"""The one wheel: it is complete, installs beside supervisord, and works in the Python of an old application."""

from __future__ import annotations

import configparser
import glob
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = {"queuemaster": ROOT / "supervisor", "queuejobs": ROOT / "workers"}
OLDEST = (3, 8)

# it builds and installs packages, which takes as long as the package index does
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

IMPORT_ALL = """
import importlib, pkgutil, queuejobs
for module in pkgutil.walk_packages(queuejobs.__path__, "queuejobs."):
    importlib.import_module(module.name)
    print(module.name)
"""


def delivered() -> set[str]:
    """The path in the wheel of every file of the packages."""
    return {
        str(path.relative_to(source))
        for name, source in SOURCES.items()
        for path in (source / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our wheel, built from a copy, since a build leaves files behind that the next one would pick up."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, copy)
    for name in ("supervisor", "workers"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    target = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(target), str(copy))
    (built,) = target.glob("*.whl")
    return built


def test_the_packages_listed_are_those_that_exist() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = config["options"]["packages"].split()
    existing = {
        ".".join(path.parent.relative_to(source).parts)
        for name, source in SOURCES.items()
        for path in (source / name).rglob("*.py")
    }
    assert sorted(listed) == sorted(existing)
    for package in existing:
        path = SOURCES[package.partition(".")[0]].joinpath(*package.split("."), "__init__.py")
        assert path.exists(), f"{package} has modules and no __init__.py"


def test_the_wheel_holds_every_file(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == delivered()


def test_the_service_lives_beside_supervisord(wheel: Path, tmp_path: Path) -> None:
    python = environment(Path(sys.executable), tmp_path / "venv")
    install(python, f"{wheel}[service]", "supervisor")
    assert run(str(python.with_name("supervisord")), "--version").strip()[0].isdigit()
    assert "0.1.0" in run(str(python.with_name("queuemaster")), "--version")
    where = run(str(python), "-c", "import supervisor, supervisor.supervisord; print(supervisor.__path__[0])")
    assert "site-packages" in where
    assert (Path(where.strip()) / "supervisorctl.py").exists()


def test_an_old_application_needs_psycopg2_and_nothing_else(
    wheel: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    refused = []
    for version, interpreter in interpreters():
        try:
            python = environment(interpreter, tmp_path / version)
            install(python, "--only-binary", ":all:", "psycopg2-binary")
        except (
            AssertionError
        ) as error:  # psycopg2 has no wheel for this Python; the next newer one may have one
            refused.append(f"{version}: {error}")
            continue
        install(python, "--no-deps", str(wheel))
        record_property("interpreter", version)
        sys.stdout.write(f"queuejobs was imported by Python {version}\n")  # pytest -rP shows it
        assert "queuejobs.worker.template" in run(str(python), "-c", IMPORT_ALL)
        return
    pytest.fail("no interpreter could be used:\n" + "\n".join(refused))


def test_bare_the_command_says_what_to_install(wheel: Path, tmp_path: Path) -> None:
    python = environment(Path(sys.executable), tmp_path / "venv")
    install(python, str(wheel))
    command = [str(python.with_name("queuemaster")), "--version"]
    result = subprocess.run(command, capture_output=True, text=True, env=clean(), check=False)
    assert result.returncode == 2
    assert 'pip install "queuemaster[service]"' in result.stderr
    assert result.stdout == ""


def interpreters() -> Iterator[tuple[str, Path]]:
    """The Pythons of this machine that queuejobs supports, oldest first, including ours."""
    candidates = {Path(sys.executable)}
    for minor in range(OLDEST[1], 20):
        named = shutil.which(f"python3.{minor}")
        if named:
            candidates.add(Path(named))
    if "PYENV_ROOT" in os.environ:  # glob skips directories that it may not read, such as another user's
        pattern = os.path.join(glob.escape(os.environ["PYENV_ROOT"]), "versions/3.*/bin/python3")
        candidates.update(Path(path) for path in glob.glob(pattern))
    usable: dict[tuple[int, int], Path] = {}
    for candidate in sorted(candidates):
        question = "import ensurepip, sys, venv; print(*sys.version_info[:2])"
        result = subprocess.run(
            [candidate, "-c", question], capture_output=True, text=True, env=clean(), check=False
        )
        if result.returncode == 0:  # a pyenv shim may have no Python behind it
            major, minor = map(int, result.stdout.split())
            usable.setdefault((major, minor), candidate)
    for version in sorted(usable):
        if version >= OLDEST:
            yield f"{version[0]}.{version[1]}", usable[version]


def environment(interpreter: Path, where: Path) -> Path:
    """A fresh virtual environment; returns its python."""
    run(str(interpreter), "-m", "venv", str(where))
    return where / "bin" / "python"


def install(python: Path, *arguments: str) -> None:
    run(str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-compile", *arguments)


def clean() -> dict[str, str]:
    """Our environment without the variables through which the new Python would see the checkout."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))}


def run(*command: str) -> str:
    """Run a command that must succeed, away from the checkout; returns its standard output."""
    result = subprocess.run(command, capture_output=True, text=True, cwd="/", env=clean(), check=False)
    assert result.returncode == 0, f"{' '.join(command)}:\n{result.stdout}{result.stderr}"
    return result.stdout
