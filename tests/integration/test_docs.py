"""Runs every Python example on these pages of docs/, in order, against a real database.

Code that a reader need not see, such as running the jobs and checking their results, is in comments that begin with
``<!-- test``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from queuejobs import Environment, Queue, functions, registry
from support.draining import Drain

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ["best-practices", "channels", "delaying", "graphs", "retries", "testing"]
BLOCK = re.compile(r"^```python\n(.*?)^```$|^<!-- test\n(.*?)^-->$", re.DOTALL | re.MULTILINE)
TABLES = """
create table exported (partner integer, fmt text);
create table notice (text text);
create table customer as select id, null::text as remote_id from generate_series(1, 2) id;
create table bill as select 1 as id, true as paid;
"""


class Remote:
    """An HTTP service that the examples call."""

    def __init__(self) -> None:
        self.created: set[str] = set()
        self.updates = 0

    def create(self, key: str) -> str:
        self.created.add(key)
        return key

    def update(self, _key: str) -> None:
        self.updates += 1


def blocks(page: str) -> list[tuple[int, str]]:
    """The examples and hidden tests of a page, each with its first line number."""
    text = (DOCS / f"{page}.md").read_text()
    return [(text[: match.start()].count("\n") + 1, match[1] or match[2]) for match in BLOCK.finditer(text)]


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page(page: str, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # pages define models of the same names, and other tests extend the model of the queue
    monkeypatch.setattr(registry, "_models", {Queue._name: Queue})
    monkeypatch.setattr(
        functions, "_by_name", {name: dict(value) for name, value in functions._by_name.items()}
    )
    connection = psycopg2.connect(database)
    connection.autocommit = True
    drain = Drain(database)

    def rows(statement: str) -> list[Any]:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()

    def waits(job: Any) -> float:
        """Seconds from the start of the job's last try to its next try."""
        statement = "select extract(epoch from eta - date_started) from queuemaster.queue_job where id = "
        return float(rows(f"{statement}{job.id}")[0][0])

    with connection.cursor() as cursor:
        cursor.execute(TABLES)
    names: dict[str, Any] = {
        "__name__": f"docs_{page.replace('-', '_')}", "dsn": database, "env": Environment(connection),
        "work": drain.work, "make_due": drain.make_due, "rows": rows, "waits": waits,
        "remote": Remote(),
    }  # fmt: skip
    try:
        for line, source in blocks(page):
            # pad with newlines, so that a traceback names the line of the page
            exec(compile("\n" * line + source, str(DOCS / f"{page}.md"), "exec"), names)
    finally:
        drain.close()
        connection.close()


def test_every_page_of_docs_with_python_is_run() -> None:
    with_examples = {path.stem for path in DOCS.glob("*.md") if "```python" in path.read_text()}
    assert with_examples <= {*PAGES, "first-hour"}, "first-hour: faults/test_new_user.py"
    assert all(blocks(page) for page in PAGES)
