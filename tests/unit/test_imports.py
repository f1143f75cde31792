"""Imports point down: which folders a folder may import, and which packages it may need."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import queuejobs

ROOT = Path(__file__).parents[2]
OURS = ("queuejobs", "queuemaster")
STDLIB = frozenset(sys.stdlib_module_names)

# Folders from the lowest floor up, each with the other folders that its modules may import.
MAY_USE = {
    "queuejobs.shared": set(),
    "queuejobs.store": {"queuejobs.shared"},
    "queuejobs": {"queuejobs.shared", "queuejobs.store"},
    "queuejobs.worker": {"queuejobs.shared", "queuejobs.store", "queuejobs"},
    "queuemaster": {"queuejobs.shared"},
    "queuemaster.channels": {"queuejobs.shared"},
    "queuemaster.config": {"queuejobs.shared", "queuejobs.store", "queuemaster", "queuemaster.channels"},
    "queuemaster.embedded": {"queuemaster.config"},
}
_SERVICE = {"queuejobs.shared", "queuemaster", "queuemaster.channels", "queuemaster.config"}
MAY_USE |= {
    "queuemaster.why": _SERVICE | {"queuejobs.store"},
    "queuemaster.master": _SERVICE | {"queuemaster.embedded"},
    "queuemaster.dispatcher": _SERVICE | {"queuejobs.store"},
    "queuemaster.exporter": _SERVICE | {"queuejobs.store", "queuemaster.why"},
    "queuemaster.shadow": _SERVICE | {"queuejobs.store", "queuejobs"},
    "queuemaster.demo": _SERVICE | {"queuejobs.store", "queuejobs", "queuemaster.embedded"},
}
MAY_USE["queuemaster.cli"] = set(MAY_USE)

# Third-party packages that a folder may import; the command line may import any.
NEEDS = {
    "queuejobs.shared": {"setproctitle"},
    "queuejobs.store": {"psycopg2"},
    "queuejobs": {"psycopg2"},
    "queuejobs.worker": {"psycopg2", "setproctitle"},
    "queuemaster": {"gevent", "psycopg2"},
    "queuemaster.channels": set(),
    "queuemaster.why": set(),
    "queuemaster.shadow": {"psycopg2"},
    "queuemaster.embedded": set(),
    "queuemaster.master": {"setproctitle", "psutil"},
    "queuemaster.dispatcher": {"setproctitle", "psutil", "psycopg2", "gevent"},
    "queuemaster.exporter": {"setproctitle", "psycopg2", "gevent", "prometheus_client", "flask", "werkzeug"},
}

Imports = dict[str, frozenset[str]]


def read_tree(root: Path) -> Imports:
    """Every module of both packages, with the absolute names that it imports anywhere in its file."""
    files: dict[str, Path] = {}
    for source in (root / "supervisor", root / "workers"):
        for path in source.rglob("*.py"):
            parts = path.relative_to(source).with_suffix("").parts
            files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return {module: frozenset(_imports(module, path, files)) for module, path in files.items()}


def _imports(module: str, path: Path, modules: dict[str, Path]) -> Iterator[str]:
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in _statements(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            levels = package.split(".")
            above = levels[: len(levels) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                # `from package import name`: the module of that name, if there is one
                name = f"{base}.{alias.name}"
                yield name if name in modules else base


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes except those that only a type checker sees."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def part_of(module: str) -> str:
    """The folder that a module of ours belongs to."""
    if module == "queuemaster.__main__":
        return "queuemaster.cli"
    if module == "queuejobs.worker":  # an empty package: it tells the service where the bootstrap lies
        return "queuejobs.shared"
    return max((name for name in MAY_USE if module == name or module.startswith(f"{name}.")), key=len)


def upward(tree: Imports) -> list[str]:
    """The imports of our own modules that do not point down."""
    return sorted(
        f"{module} -> {name}"
        for module, imported in tree.items()
        for name in imported
        if name.partition(".")[0] in OURS
        and part_of(name) != part_of(module)
        and part_of(name) not in MAY_USE[part_of(module)]
    )


def foreign(tree: Imports) -> list[str]:
    """The imports of third-party packages that a folder may not use."""
    return sorted(
        f"{module} -> {name}"
        for module, imported in tree.items()
        if (allowed := NEEDS.get(part_of(module))) is not None
        for name in imported
        if name.partition(".")[0] not in {*STDLIB, *OURS, *allowed}
    )


def order(tree: Imports) -> list[str]:
    """The modules, imported before importing. Raises graphlib.CycleError."""
    own_imports = {module: {name for name in imported if name in tree} for module, imported in tree.items()}
    return list(graphlib.TopologicalSorter(own_imports).static_order())


def loaded(tree: Imports, start: str) -> set[str]:
    """Every module that is loaded with one of ours, including the ``__init__`` of each package."""
    visited: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name in visited:
            continue
        visited.add(name)
        waiting += tree.get(name, ())
        if "." in name and name.partition(".")[0] in OURS:
            waiting.append(name.rpartition(".")[0])
    return visited


@pytest.fixture(scope="module")
def tree() -> Imports:
    return read_tree(ROOT)


def test_every_module_was_read(tree: Imports) -> None:
    assert {"queuejobs.store.schema", "queuemaster.config.compiled", "queuemaster.embedded"} <= set(tree)


def test_imports_point_down(tree: Imports) -> None:
    assert upward(tree) == []


def test_no_part_needs_more_than_it_may(tree: Imports) -> None:
    assert foreign(tree) == []


def test_no_cycle(tree: Imports) -> None:
    assert len(order(tree)) >= len(tree)


@pytest.mark.parametrize("process", ["queuemaster.master", "queuemaster.dispatcher", "queuemaster.exporter"])
def test_no_process_loads_more_than_it_may(tree: Imports, process: str) -> None:
    """The master loads no database driver, and no process loads a library of the command line."""
    everything = set().union(*(loaded(tree, name) for name in tree if part_of(name) == process))
    packages = {name.partition(".")[0] for name in everything} - STDLIB - {*OURS}
    assert packages <= NEEDS[process]


@pytest.mark.parametrize(
    ("path", "line", "violation"),
    [
        (
            "workers/queuejobs/job.py",
            "import queuemaster.config.compiled",
            "queuejobs.job -> queuemaster.config.compiled",
        ),
        (
            "workers/queuejobs/store/x.py",
            "from ..job import Job",
            "queuejobs.store.x -> queuejobs.job",
        ),
        (
            "workers/queuejobs/job.py",
            "def f():\n    from .worker import settings",
            "queuejobs.job -> queuejobs.worker.settings",
        ),
        (
            "supervisor/queuemaster/master/loop.py",
            "from ..dispatcher import links",
            "queuemaster.master.loop -> queuemaster.dispatcher.links",
        ),
        (
            "supervisor/queuemaster/master/loop.py",
            "from queuejobs.store import claims",
            "queuemaster.master.loop -> queuejobs.store.claims",
        ),
        (
            "supervisor/queuemaster/config/sources.py",
            "from queuemaster.dispatcher import links",
            "queuemaster.config.sources -> queuemaster.dispatcher.links",
        ),
        (
            "supervisor/queuemaster/embedded/server.py",
            "from ..cli import main",
            "queuemaster.embedded.server -> queuemaster.cli",
        ),
    ],
)
def test_a_planted_violation_is_found(tmp_path: Path, path: str, line: str, violation: str) -> None:
    plant(tmp_path, path, line)
    assert upward(read_tree(tmp_path)) == [violation]


def test_a_planted_package_of_others_is_found(tmp_path: Path) -> None:
    plant(tmp_path, "supervisor/queuemaster/master/loop.py", "import psycopg2.extensions")
    assert foreign(read_tree(tmp_path)) == ["queuemaster.master.loop -> psycopg2.extensions"]


def test_a_package_that_comes_along_is_found(tmp_path: Path) -> None:
    plant(tmp_path, "workers/queuejobs/__init__.py", "from .store import claims")
    plant(tmp_path, "workers/queuejobs/store/claims.py", "import psycopg2")
    plant(tmp_path, "supervisor/queuemaster/master/loop.py", "from queuejobs.shared import wire")
    assert "psycopg2" in loaded(read_tree(tmp_path), "queuemaster.master.loop")


def test_a_planted_cycle_is_found(tmp_path: Path) -> None:
    plant(tmp_path, "workers/queuejobs/a.py", "from .job import Job")
    plant(tmp_path, "workers/queuejobs/job.py", "from . import a")
    with pytest.raises(graphlib.CycleError):
        order(read_tree(tmp_path))


def plant(root: Path, path: str, line: str) -> None:
    """Make a small tree like ours, with one file that holds one import."""
    for name in (
        "workers/queuejobs/job.py",
        "workers/queuejobs/store/claims.py",
        "workers/queuejobs/worker/settings.py",
        "workers/queuejobs/shared/wire.py",
        "supervisor/queuemaster/config/compiled.py",
        "supervisor/queuemaster/config/sources.py",
        "supervisor/queuemaster/dispatcher/links.py",
        path,
    ):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (root / path).write_text(line)


def test_the_public_names_are_loaded_when_they_are_used() -> None:
    assert all(getattr(queuejobs, name).__name__ == name for name in queuejobs.__all__)


@pytest.mark.parametrize(
    "module",
    [path.stem for path in (ROOT / "workers" / "queuejobs").glob("[!_]*.py")]
    + ["worker.template", "store.claims"],
)
def test_each_module_can_be_the_first(module: str) -> None:
    subprocess.run([sys.executable, "-c", f"import queuejobs.{module}"], check=True, cwd=ROOT / "workers")
