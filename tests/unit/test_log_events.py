"""docs/logs.md lists exactly the events that are logged, since people search for their wording."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EVENTS = {"event", "log_event", "_log"}  # calls with (…, text, key=value, …)
METHODS = {"debug", "info", "warning", "error", "exception", "critical"}  # calls of a logger
SOMETHING = "…"


def logged(source: str) -> Iterator[str]:
    """The wording of every event in a module, with ``…`` for the variable parts."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            texts = [text for argument in node.args if (text := wording(argument)) is not None]
            if name in EVENTS and texts:
                yield texts[0]
            elif method in METHODS and "log" in ast.unparse(node.func) and texts:
                yield re.sub(r"%[srd]", SOMETHING, texts[0])


def wording(node: ast.expr) -> str | None:
    """The text of a literal, or of an f-string with ``…`` for its values; else None."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else SOMETHING for part in node.values
        )
    return None


def documented() -> set[str]:
    """The first column of the tables of events."""
    lines = (ROOT / "docs" / "logs.md").read_text().partition("## Master")[2].splitlines()
    cells = [line.split("|")[1] for line in lines if line.startswith("| `")]
    return {text for cell in cells for text in re.findall(r"`([^`]+)`", cell)}


@pytest.fixture(scope="module")
def in_the_code() -> set[str]:
    sources = [
        path
        for directory in ("supervisor/queuemaster", "workers/queuejobs")
        for path in (ROOT / directory).rglob("*.py")
        if "cli" not in path.parts
    ]
    texts = {text for path in sources for text in logged(path.read_text())}
    # the answers to USR2 are built from data
    return texts | set(
        re.findall(r'\("(status[^"]*)", ', (ROOT / "supervisor/queuemaster/master/report.py").read_text())
    )


def covers(pattern: str, text: str) -> bool:
    """Whether a wording with ``…`` matches the other one."""
    return (
        SOMETHING in pattern
        and re.fullmatch(".+".join(map(re.escape, pattern.split(SOMETHING))), text) is not None
    )


def test_every_event_is_documented(in_the_code: set[str]) -> None:
    in_the_docs = documented()
    missing = {
        text for text in in_the_code - in_the_docs if not any(covers(text, event) for event in in_the_docs)
    }
    assert missing == set(), "add them to docs/logs.md"


def test_every_documented_event_is_logged(in_the_code: set[str]) -> None:
    not_logged = {
        text for text in documented() - in_the_code if not any(covers(event, text) for event in in_the_code)
    }
    assert not_logged == set(), "docs/logs.md lists these events, but they are not logged"


def test_events_are_found() -> None:
    source = 'event(_log, 1, "one", db=2)\n_log.error("two: %r", 3)\nev(_log(1, f"{role} three"))\n'
    assert set(logged(source)) == {"one", "two: …", "… three"}
