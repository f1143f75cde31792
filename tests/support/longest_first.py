"""How tests are handed out to the processes of xdist: one by one, long ones first, so that none is left for the end.

Tests of a module that has fixtures of its own for all of them stay together, in one process.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

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
    """The tests, long ones first, otherwise as they were."""
    return sorted(items, key=lambda item: _rank(item, root))


def _rank(item: pytest.Item, root: Path) -> int:
    path = item.path.relative_to(root).as_posix() if item.path.is_relative_to(root) else ""
    name = "::".join([path, *item.nodeid.split("::")[1:]])
    return next((rank for rank, part in enumerate(LONGEST) if part in name), len(LONGEST))


class OneByOne(LoadScopeScheduling):  # type: ignore[misc,unused-ignore]
    """A process gets the next test, or the next module, when it has nearly finished what it has."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        config.option.loadscopereorder = False  # it would put small units last, however long they take
        super().__init__(config, log)
        self._root = config.rootpath

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if _shares_fixtures(self._root / file) else nodeid


@cache
def _shares_fixtures(file: Path) -> bool:
    return 'scope="module"' in file.read_text()
