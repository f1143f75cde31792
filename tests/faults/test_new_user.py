"""docs/first-hour.md, command by command: a new user installs, starts, uses, kills, reloads and stops the service."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from queuemaster.master.pidfile import owner
from support.scraping import free_port
from support.walking import Command, File, Shell, steps, walk

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "first-hour.md").read_text()

# it installs packages, which takes as long as the package index does
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def home() -> Iterator[Path]:
    """An empty home directory that a PostgreSQL started by root may pass through."""
    place = Path(tempfile.mkdtemp(prefix="qm-", dir="/tmp"))
    place.chmod(0o755)
    yield place
    pid = owner(place / "queue/run/queuemaster/queuemaster.pid")
    if pid is not None:
        master = psutil.Process(pid)
        family = [master, *master.children(recursive=True)]
        master.terminate()
        master.terminate()
        psutil.wait_procs(family, timeout=60)
    shutil.rmtree(place)


def environment(home: Path) -> dict[str, str]:
    """The environment of a user who has just logged in, with our ``make`` and our Python."""
    names = ("PATH", "TMPDIR", "LANG", "http_proxy", "https_proxy", "no_proxy")
    inherited = {
        name: value for name, value in os.environ.items() if name in names or name.startswith("PIP_")
    }
    return {**inherited, "HOME": str(home), "PYTHON": sys.executable, "LC_ALL": "C.UTF-8", "TERM": "dumb"}


def test_every_command_of_the_page(home: Path) -> None:
    listening = free_port()  # other tests run at the same time and may use the page's port
    shell = Shell({**environment(home), "QUEUEMASTER_HTTP": f"127.0.0.1:{listening}"}, ROOT)
    page = PAGE.replace("127.0.0.1:8079", f"127.0.0.1:{listening}")
    count = 0
    try:
        for step in steps(page):
            if isinstance(step, File):
                (home / "queue" / step.path).write_text(step.text)
            else:
                walk(shell, step)
                count += 1
    finally:
        shell.close()
    assert count == page.count("\n$ ") > 30


def test_a_page_that_is_wrong_is_noticed(tmp_path: Path) -> None:
    shell = Shell(environment(tmp_path), tmp_path)
    try:
        script = "echo one; echo two 22; echo three"
        for answer in (("one", "two 7", "three"), ("...", "two 1"), ("one", "..."), ("o…",), ()):
            walk(shell, Command(1, script, answer))
        for answer in (("two 22",), ("one", "three"), ("one", "...", "four"), ("three", "...", "one")):
            with pytest.raises(AssertionError, match="not said"):
                walk(shell, Command(1, script, answer))
    finally:
        shell.close()


def test_it_does_everything_that_an_operator_does() -> None:
    commands = "\n".join(step.text for step in steps(PAGE) if isinstance(step, Command))
    for deed in (
        "make install",
        " start",
        " status",
        "metrics",
        "kill -9",
        "queuemaster why",
        " reload",
        " stop",
    ):
        assert deed in commands
