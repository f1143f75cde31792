"""The delivered logrotate file: after a rotation every process writes the new file and none holds the old one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.initscript import InitScript
from support.processes import holders_of
from support.programs import environment, program
from support.supervised import PATIENCE, queue
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)

DELIVERED = Path(__file__).parents[2] / "etc" / "queuemaster.logrotate"


@pytest.fixture
def script(tmp_path: Path, database: str) -> Iterator[InitScript]:
    init_script = InitScript(tmp_path, database)
    yield init_script
    init_script.end()


@pytest.fixture
def rules(script: InitScript) -> str:
    """The delivered logrotate file, with the paths of the supervisor of this test."""
    text = DELIVERED.read_text()
    text = text.replace("/usr/local/bin/queuemaster ", f"{script.program} ")
    text = text.replace("/run/queuemaster/queuemaster.pid", str(script.pidfile))
    return text.replace("/var/log/queuemaster/*.log", str(script.directory / "log"))


def test_what_it_calls_makes_everybody_let_go_of_the_old_file(script: InitScript, rules: str) -> None:
    assert script.code("start") == 0
    old = script.directory / "log.1"
    (script.directory / "log").rename(old)
    calls = rules.partition("postrotate\n")[2].partition("endscript")[0]
    assert subprocess.run(["sh", "-ec", calls], check=False).returncode == 0
    running = script.running()
    wait_until(
        lambda: holders_of(running.everything(), old) == [], PATIENCE, "no process to hold the old file"
    )
    wait_until(lambda: "logs reopened" in running.log, PATIENCE)
    assert script.code("stop") == 0
    assert subprocess.run(["sh", "-ec", calls], check=False).returncode == 0, (
        "rotation succeeds while no supervisor runs"
    )


def test_logrotate_does_it(script: InitScript, rules: str, database: str) -> None:
    logrotate = program("logrotate", "logrotate")
    assert script.code("start") == 0
    running = script.running()
    with queue(database) as jobs:
        jobs.wait_for(jobs.sample(1).with_delay().log("before the rotation").uuid, "done")
        file = script.directory / "rules"
        file.write_text(rules)
        file.chmod(0o644)
        argv = [logrotate, "--force", "--state", str(script.directory / "state"), str(file)]
        result = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment())
        assert (result.returncode, result.stderr) == (0, "")
        old = script.directory / "log.1"
        assert "before the rotation" in old.read_text()
        wait_until(
            lambda: holders_of(running.everything(), old) == [], PATIENCE, "no process to hold the old file"
        )
        jobs.wait_for(jobs.sample(2).with_delay().log("after the rotation").uuid, "done")
    wait_until(lambda: "after the rotation" in running.log, PATIENCE)
    assert "before the rotation" not in running.log
    assert "after the rotation" not in old.read_text()
