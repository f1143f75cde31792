"""Fixtures on a real Odoo. Without one these tests are skipped, with the reason."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from queuemaster.config.compiled import ServerPlan
from support import realodoo
from support.realodoo import Console, Odoo

_numbers = itertools.count(1)
_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(600))
            if not realodoo.ODOO:
                item.add_marker(pytest.mark.skip(reason=realodoo.WITHOUT))


@pytest.fixture(scope="session")
def odoo_template(server: ServerPlan, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A template database with the addon and our test addon."""
    realodoo.make_role(server)
    realodoo.install(server, "odoo_template", tmp_path_factory.mktemp("install"), "queuemaster_test")
    return "odoo_template"


@pytest.fixture(scope="session")
def console(server: ServerPlan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """A console in Odoo's interpreter."""
    opened = Console(server, tmp_path_factory.mktemp("console"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def new_odoo(
    server: ServerPlan, odoo_template: str, console: Console, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Odoo]]:
    """Returns a function that clones the template; the clones live as long as the module's tests."""
    created: list[Odoo] = []

    def make() -> Odoo:
        name = f"odoo_{next(_numbers)}"
        realodoo.clone(server, odoo_template, name)
        created.append(Odoo(server, console, name, tmp_path_factory.mktemp(name)))
        return created[-1]

    yield make
    for odoo in created:
        odoo.connection.close()
        console.ask(odoo.name, realodoo.ADMIN, "")
        realodoo.drop(server, odoo.name)


@pytest.fixture
def odoo(new_odoo: Callable[[], Odoo]) -> Odoo:
    """A fresh clone of the template database."""
    return new_odoo()
