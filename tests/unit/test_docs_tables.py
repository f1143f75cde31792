"""The tests that pages of docs/ name exist and are not switched off."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`([\w/]+\.py)::(test_\w+)`")
PAGES = {
    str(path.relative_to(ROOT / "docs")): path.read_text() for path in sorted((ROOT / "docs").rglob("*.md"))
}


def named_in(path: Path) -> set[str]:
    """The test functions of a file, without those that are always skipped."""
    functions = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
    return {
        function.name
        for function in functions
        if not any("mark.skip(" in ast.unparse(decorator) + "(" for decorator in function.decorator_list)
    }


@pytest.mark.parametrize("page", [name for name, text in PAGES.items() if NAMED.search(text)])
def test_the_tests_that_a_page_names_exist(page: str) -> None:
    for file, name in NAMED.findall(PAGES[page]):
        path = ROOT / "tests" / file
        assert path.exists(), f"{page} names tests/{file}, which does not exist"
        assert name in named_in(path), f"{page} names {name}, which tests/{file} does not have"


@pytest.mark.parametrize("page", ["features.md", "differences.md"])
def test_every_row_names_a_test(page: str) -> None:
    rows = [line for line in PAGES[page].splitlines() if line.startswith("| ")]
    bare = [row for row in rows if not NAMED.search(row) and "shown by" not in row]
    assert bare == []
    assert len(rows) > 10


def test_every_complaint_about_the_stock_runner_names_a_test() -> None:
    table = PAGES["odoo.md"].partition("## What operators of the stock runner complain of")[2]
    rows = [line for line in table.splitlines() if line.startswith("| ") and "#" in line]
    assert [row for row in rows if not NAMED.search(row)] == []
    assert len(rows) == 20
