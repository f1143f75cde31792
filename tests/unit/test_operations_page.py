"""docs/operations.md names tests for every failure and signal, and quotes our log lines correctly."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()
NAMED = re.compile(r"`[\w/]+\.py::test_\w+`")


# each part that can fail, and the section about it
FAILURES = {
    "a worker dies": "A worker dies",
    "a worker overruns a limit": "A job goes on for too long, or uses too much",
    "a worker hangs": "A worker hangs",
    "a worker does not come up": "A worker does not come up",
    "a job forks": "A job forks, or leaves a thread",
    "the dispatcher dies": "The dispatcher dies",
    "the dispatcher hangs": "The dispatcher hangs",
    "the template": "The template dies, or the application cannot be imported",
    "the exporter": "The exporter dies",
    "the master": "The master is killed",
    "a connection, the database": "A database is away",
    "the embedded server": "The embedded PostgreSQL dies",
    "the host": "The whole host",
}
SIGNALS = ("TERM", "INT, QUIT, a second TERM", "HUP", "USR1", "USR2", "TTIN, TTOU")


def test_every_failure_and_every_signal_names_one() -> None:
    parts = PAGE.partition("## What fails")[2].partition("\n## ")[0].split("\n### ")[1:]
    sections = {part.partition("\n")[0]: part for part in parts}
    assert set(sections) == set(FAILURES.values())
    rows = {line.split("|")[1].strip(): line for line in PAGE.splitlines() if re.match(r"\| [A-Z]{2}", line)}
    assert set(rows) == set(SIGNALS)
    for title, part in (sections | rows).items():
        assert NAMED.search(part), title


def test_every_failure_says_what_is_seen_and_what_is_left_to_do() -> None:
    for title in FAILURES.values():
        section = PAGE.partition(f"\n### {title}\n")[2].partition("\n### ")[0]
        assert "\n```\n… " in section, f"{title}: the section quotes no lines of the log"
        assert "* **The " in section, f"{title}: the section does not say what happens by itself"
        assert "* **You**: " in section, title


def test_the_tests_that_are_named_are_there() -> None:
    for named in NAMED.findall(PAGE):
        path, name = named.strip("`").split("::")
        assert f"def {name}(" in (ROOT / "tests" / path).read_text(), named


def test_the_events_that_are_quoted_are_ours() -> None:
    """A quoted log line with an outdated wording does not help."""
    sources = "\n".join(
        path.read_text() for top in ("supervisor", "workers") for path in (ROOT / top).rglob("*.py")
    )
    quoted = re.findall(r"^… [A-Z]+ \d+ queuemaster\.\w+: ([a-z', ]+?)(?: \w+=|$)", PAGE, re.MULTILINE)
    assert len(quoted) > 40
    for event in set(quoted):
        role_left_out = re.sub(r"^(server|dispatcher|template|exporter) ", "", event)
        assert event in sources or role_left_out in sources, event
