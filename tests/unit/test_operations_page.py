"""docs/operations.md: every failure and every signal names its tests, and the lines of the log are ours."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()
NAMED = re.compile(r"`[\w/]+\.py::test_\w+`")


def test_every_failure_and_every_signal_names_one() -> None:
    failures = PAGE.partition("## What fails")[2].partition("\n## ")[0].split("\n### ")[1:]
    assert len(failures) >= 9
    rows = [line for line in PAGE.splitlines() if re.match(r"\| [A-Z]{2}", line)]
    assert len(rows) == 6
    for part in (*failures, *rows):
        assert NAMED.search(part), part.splitlines()[0]


def test_the_events_that_are_quoted_are_ours() -> None:
    """A line of the log whose wording has changed is no help."""
    sources = "\n".join(
        path.read_text() for top in ("supervisor", "workers") for path in (ROOT / top).rglob("*.py")
    )
    quoted = re.findall(r"^… [A-Z]+ \d+ queuemaster\.\w+: ([a-z' ]+?)(?: \w+=|$)", PAGE, re.MULTILINE)
    assert len(quoted) > 30
    for event in {
        text.replace("server ", "").replace("dispatcher ", "").replace("template ", "") for text in quoted
    }:
        assert event in sources, event
