"""The Dockerfile, checked without a daemon: it copies files that exist and starts one of our commands."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from click.testing import CliRunner

from queuemaster.cli import main
from queuemaster.config.options import Options

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "etc" / "Dockerfile").read_text()
LINES = [
    line
    for line in re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", TEXT, flags=re.MULTILINE)).splitlines()
    if line
]
KNOWN = {
    "FROM", "WORKDIR", "COPY", "RUN", "USER", "ENV", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK",
    "ENTRYPOINT", "CMD",
}  # fmt: skip


def arguments(instruction: str) -> list[str]:
    """The arguments of each line with this instruction."""
    return [line.partition(" ")[2] for line in LINES if line.startswith(f"{instruction} ")]


def test_each_line_is_an_instruction() -> None:
    assert {line.split()[0] for line in LINES} == KNOWN


def test_what_is_copied_is_there_and_is_all_that_a_build_needs() -> None:
    sources = [
        source for line in arguments("COPY") if not line.startswith("--from=") for source in line.split()[:-1]
    ]
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert {"setup.cfg", "pyproject.toml", "README.md", "LICENSE", "supervisor", "workers"} <= set(sources)
    stages = set(re.findall(r"^FROM \S+ AS (\w+)$", TEXT, re.MULTILINE))
    assert set(re.findall(r"--from=(\w+)", TEXT)) == stages


def test_it_runs_our_command_and_not_as_root() -> None:
    (entry,), (command,) = arguments("ENTRYPOINT"), arguments("CMD")
    assert json.loads(entry) == ["queuemaster"]
    assert CliRunner().invoke(main, [*json.loads(command), "--help"]).exit_code == 0
    assert arguments("USER") == ["queuemaster"]
    assert arguments("STOPSIGNAL") == ["SIGTERM"]
    health = arguments("HEALTHCHECK")[0].partition("CMD ")[2]
    compile(json.loads(health)[2], "HEALTHCHECK", "exec")


def test_its_variables_are_options() -> None:
    named = {word.partition("=")[0] for line in arguments("ENV") for word in shlex.split(line)} - {"PATH"}
    options = {f"QUEUEMASTER_{name.upper()}" for name in Options.model_fields} | {"QUEUEMASTER_DATA_DIR"}
    assert named <= options
    assert set(re.findall(r"\bQUEUEMASTER_[A-Z_]+", TEXT)) <= options
