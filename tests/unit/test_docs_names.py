"""README, CONTRIBUTING and docs/ name only what exists: files, folders, modules, functions, links.

A page is searched for words in backticks, outside blocks of code: paths (``docs/odoo.md``, ``store/claims.py``,
``tests/``), dotted names (``queuemaster.config.paths.default_data_dir``, ``hub.DispatchHub.run``), and names in
brackets behind a path. In blocks of Python its imports of our packages are looked up.
"""

from __future__ import annotations

import ast
import fnmatch
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TOP = ("supervisor", "workers", "tests", "docs", "etc", "bench", ".github")  # the folders that hold our files
PACKAGES = {"queuemaster": "supervisor/queuemaster", "queuejobs": "workers/queuejobs", "bench": "bench"}
SUFFIXES = (".py", ".sql", ".md", ".svg", ".toml", ".cfg", ".sh", ".yaml", ".in")

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")
NAMES_OF_A_FILE = re.compile(r"`([\w./]+\.(?:py|sql))` \(((?:`\w+`(?:, |\)))+)")
DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.\w+)+")

# Files that a page tells its reader to make on the reader's own machine.
OF_THE_READER = {
    "README.md": {"app.py", "enqueue.py"},
    "first-hour.md": {
        "etc/queuemaster/queuemaster.conf",
        "var/lib/queuemaster/letters.py",
        "var/lib/queuemaster/enqueue.py",
    },
}
# Modules of ours whose name is also an ordinary word: `job.wait` is a method of a job, not of the module.
ORDINARY_WORDS = {"job", "queue", "channel", "process", "connection", "run", "log"}
OF_THE_MACHINE = (".conf", ".pid", ".log")  # without a folder: a kind of file, wherever it lies
LOGGERS = {
    f"queuemaster.{role}"
    for role in ("master", "dispatcher", "template", "worker", "exporter", "odoo", "wire")
}


class Repository:
    """The names that may appear on a page: files below ``root``, and definitions in Python and SQL files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = sorted(
            str(path.relative_to(root))
            for top in TOP
            for path in (root / top).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        )
        self.files += [path.name for path in root.iterdir() if path.is_file()]
        self.folders = {str(parent) for file in self.files for parent in Path(file).parents} - {"."}

    @cached_property
    def modules(self) -> dict[str, Path]:
        """Our Python modules and packages, by dotted name."""
        modules = {}
        for package, folder in PACKAGES.items():
            for file in self.files:
                if file.startswith(f"{folder}/") and file.endswith(".py"):
                    parts = (package, *Path(file).relative_to(folder).with_suffix("").parts)
                    modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = self.root / file
        return modules

    @cached_property
    def tables_and_functions(self) -> set[str]:
        """The tables, views and functions that our SQL creates in the schema ``queuemaster``."""
        texts = [(self.root / file).read_text() for file in self.files if "queuejobs/store/" in file]
        pattern = r"\b(?:table|view|function) (?:if not exists )?(?:queuemaster\.)?(\w+)"
        return set(re.findall(pattern, "\n".join(texts)))

    def has_path(self, path: str) -> bool:
        """Whether a file or folder has this path or one that ends with it; ``*`` matches anything."""
        target = path.rstrip("/")
        paths = self.folders if path.endswith("/") else {*self.files, *self.folders}
        return any(
            fnmatch.fnmatch(candidate, pattern) for candidate in paths for pattern in (target, f"*/{target}")
        )

    def has_name(self, dotted: str) -> bool:
        """Whether a dotted name is a module, or something that the module's file defines or imports."""
        module, tail = dotted, list[str]()
        while module and module not in self.modules:
            module, _, last = module.rpartition(".")
            tail.insert(0, last)
        if not module:
            return False
        return not tail or self.defines(self.modules[module], ".".join(tail))

    def defines(self, file: Path, name: str) -> bool:
        """Whether a file defines this function, class, constant or method (``Class.method``)."""
        if file.suffix == ".sql":
            return (
                re.search(rf"\b(?:function|table|view|trigger) (?:\S+\.)?{name}\b", file.read_text())
                is not None
            )
        return name in _defined(ast.parse(file.read_text()).body)


def _defined(body: list[ast.stmt], prefix: str = "") -> set[str]:
    names: set[str] = set()
    for statement in body:
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
            names.add(prefix + statement.name)
        if isinstance(statement, ast.ClassDef):
            names |= _defined(statement.body, f"{prefix}{statement.name}.")
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            names |= {prefix + (alias.asname or alias.name) for alias in statement.names}
        targets = (
            statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        )
        names |= {prefix + target.id for target in targets if isinstance(target, ast.Name)}
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__":
            names |= set(ast.literal_eval(statement.value))
    return names


def missing(page: Path, repository: Repository) -> Iterator[str]:
    """Every name on the page for which nothing exists."""
    text = page.read_text()
    own = OF_THE_READER.get(page.name, set())
    prose = BLOCK.sub("", text)
    for link in LINK.findall(prose):
        if not (page.parent / link).exists():
            yield link
    for span in SPAN.findall(prose):
        for word in span.split():
            token = word.strip("(),;:'\"").partition("::")[0]
            if token not in own and not _exists(token, repository):
                yield token
    for file, names in NAMES_OF_A_FILE.findall(prose):
        paths = [
            repository.root / candidate
            for candidate in repository.files
            if f"/{candidate}".endswith(f"/{file}")
        ]
        for name in SPAN.findall(names):
            if not any(repository.defines(path, name) for path in paths):
                yield f"{file}: {name}"
    for language, block in BLOCK.findall(text):
        if language == "python":
            yield from _missing_in_code(block, repository)


def _exists(token: str, repository: Repository) -> bool:
    """Whether a word is not one of our names at all, or names something that exists."""
    first = re.split(r"[./]", token)[0]
    if token.startswith(("/", "~", "$", "..", "-")) or "=" in token or "://" in token or "…" in token:
        return True  # a path of the machine, an option, an address
    if "/" not in token and token.endswith(OF_THE_MACHINE):
        return True
    if token.endswith(SUFFIXES) or (token.endswith("/") and "/" in token) or _is_of_ours(token):
        return repository.has_path(token)
    name = DOTTED.match(token)
    if name is None or name[0] in LOGGERS:
        return True
    if first in PACKAGES:
        tail = name[0].partition(".")[2]
        return repository.has_name(name[0]) or (
            first == "queuemaster" and tail in repository.tables_and_functions
        )
    stems = [module for module in repository.modules if module.rpartition(".")[2] == first]
    if not stems or first in ORDINARY_WORDS:
        return True
    return any(repository.has_name(module + name[0].removeprefix(first)) for module in stems)


def _is_of_ours(token: str) -> bool:
    return "/" in token and token.partition("/")[0] in TOP


def _missing_in_code(block: str, repository: Repository) -> Iterator[str]:
    """Imports from our packages, and attributes of modules of ours that were imported."""
    tree = ast.parse(block)
    imported: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] in PACKAGES:
            for alias in node.names:
                dotted = f"{node.module}.{alias.name}"
                if dotted in repository.modules:
                    imported[alias.name] = dotted
                elif not repository.has_name(dotted):
                    yield dotted
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in imported:
            dotted = f"{imported[node.value.id]}.{node.attr}"
            if not repository.has_name(dotted):
                yield dotted


@pytest.fixture(scope="module")
def repository() -> Repository:
    return Repository(ROOT)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_names_only_what_exists(page: Path, repository: Repository) -> None:
    assert list(missing(page, repository)) == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("see `dispatcher/queues.py`", "dispatcher/queues.py"),
        ("see `tests/faults/test_nothing.py::test_it`", "tests/faults/test_nothing.py"),
        ("all of `tests/integration/test_nothing_*.py`", "tests/integration/test_nothing_*.py"),
        ("the folder `store/nothing/`", "store/nothing/"),
        ("the folder `workers/nothing`", "workers/nothing"),
        ("the file `nothing.sql`", "nothing.sql"),
        ("`queuemaster.cli.nothing`", "queuemaster.cli.nothing"),
        ("the table `queuemaster.nothing`", "queuemaster.nothing"),
        ("`queuejobs.retry.nothing()`", "queuejobs.retry.nothing"),
        ("`hub._nothing`", "hub._nothing"),
        ("`hub.DispatchHub.nothing`", "hub.DispatchHub.nothing"),
        ("in `store/claims.py` (`claim`, `nothing`)", "store/claims.py: nothing"),
        ("[a link](nothing.md)", "nothing.md"),
        ("```python\nfrom queuejobs import nothing\n```\n", "queuejobs.nothing"),
        (
            "```python\nfrom queuemaster import embedded\nembedded.nothing()\n```\n",
            "queuemaster.embedded.nothing",
        ),
    ],
)
def test_a_name_of_nothing_is_found(tmp_path: Path, repository: Repository, text: str, name: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# A page\n\n{text}\n")
    (unknown,) = missing(page, repository)
    assert unknown.startswith(name)


def test_names_of_what_exists_are_accepted(tmp_path: Path, repository: Repository) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "`store/claims.py` (`claim`), `dispatcher/hub.py`, `tests/unit/`, `tests/faults/test_re*.py`,"
        " `hub.DispatchHub.run`, `queuemaster.cli.main()`, `queuemaster.queue_job`, `queuemaster.dispatcher`,"
        " `job.wait(timeout=3)`, `rate=2/s`, `/etc/queuemaster/queuemaster.conf`, `~/.pgpass`, `self.env.cr`\n"
        "```python\nfrom queuejobs import Model, chain\nfrom queuemaster import embedded\nembedded.dsn(plan)\n```\n"
    )
    assert list(missing(page, repository)) == []
