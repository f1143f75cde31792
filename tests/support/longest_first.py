"""The order in which tests are handed out: long ones first, so that none of them is what everybody waits for.

It needs ``--dist loadgroup --no-loadscope-reorder``, as ``make test`` says: each process gets the next test when it has
finished one. Tests that share a fixture of their module stay together, in one process.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

# What takes more than ten seconds, by `pytest --durations=30`: parts of node ids, the longest first.
LONGEST = (
    "integration/test_packaging.py",
    "faults/test_new_user.py::test_every_command_of_the_page",
    "faults/test_graph_properties.py",
    "faults/test_reload.py::test_descriptors",
    "faults/test_chaos.py",
    "faults/test_capacity.py",
    "integration/test_job_runs.py",
    "unit/channels/test_schedule_properties.py::TestDispatching",
    "faults/test_demo.py",
    "integration/test_odoo_databases.py::test_databases_that_nobody_named_are_found_when_the_server_is_back",
    "faults/test_exporter.py",
    "faults/test_limits.py",
    "faults/test_shutdown.py",
    "faults/test_channels_live.py",
    "faults/test_beside_odoo.py",
    "faults/",
    "integration/",
    "unit/",
)


def in_order(items: list[pytest.Item], root: Path) -> list[pytest.Item]:
    """The tests, long ones first, otherwise as they were; those of a module with its own fixtures are grouped."""
    for item in items:
        if _shares_a_fixture(item):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    return sorted(items, key=lambda item: _rank(item, root))


def _rank(item: pytest.Item, root: Path) -> int:
    path = item.path.relative_to(root).as_posix() if item.path.is_relative_to(root) else ""
    name = "::".join([path, *item.nodeid.split("::")[1:]])
    return next((rank for rank, part in enumerate(LONGEST) if part in name), len(LONGEST))


def _shares_a_fixture(item: pytest.Item) -> bool:
    """Whether it uses a fixture that is made once for its module."""
    known: dict[str, Any] = item._fixtureinfo.name2fixturedefs if isinstance(item, pytest.Function) else {}
    return any(definition.scope == "module" for definitions in known.values() for definition in definitions)
