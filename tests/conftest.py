"""Fixtures: a real PostgreSQL for the session, a database for each test, no process left behind.

Under xdist each of its workers has a server of its own: nothing to share, nothing to lock.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest

from queuejobs.shared import linux
from queuemaster.config.compiled import ServerPlan
from support.longest_first import OneByOne, in_order
from support.places import open_directory
from support.postgres import make_template, new_database
from support.processes import descendants, describe, end_of
from support.rows import Session, WorkerSession
from support.supervised import Queue, queue
from support.testserver import VARIABLE, session_server

pytest_plugins = ("support.odoofixtures",)

_PATIENCE = 30.0
_HERE = Path(__file__).parent

# what a script starts in the background ignores SIGINT, and so would the commands that the tests start
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = in_order(items, _HERE)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneByOne:
    return OneByOne(config, log)


@pytest.fixture(scope="session", autouse=True)
def no_option_of_the_tests() -> None:
    """Commands that the tests start would take QUEUEMASTER_TEST_SERVER for an option that they do not know."""
    os.environ.pop(VARIABLE, None)


@pytest.fixture(scope="session")
def server() -> Iterator[ServerPlan]:
    """The session's PostgreSQL, without durability. To kill a server, start one of your own."""
    with session_server() as plan:
        yield plan


@pytest.fixture(scope="session")
def template(server: ServerPlan) -> str:
    """The name of the database that is cloned for each test."""
    return make_template(server)


@pytest.fixture
def database(server: ServerPlan, template: str) -> Iterator[str]:
    """The DSN of a new database with our schema."""
    with new_database(server, template) as dsn:
        yield dsn


@pytest.fixture
def empty_database(server: ServerPlan) -> Iterator[str]:
    """The DSN of a new database without our schema."""
    with new_database(server) as dsn:
        yield dsn


@pytest.fixture
def connection(database: str) -> Iterator[Any]:
    """A connection of an application: psycopg2's defaults, so its first statement begins a transaction."""
    opened = psycopg2.connect(database)
    yield opened
    opened.close()


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    """A session in autocommit mode, with which a test writes and reads rows."""
    opened = Session(database)
    yield opened
    opened.close()


@pytest.fixture
def app(database: str) -> Iterator[Session]:
    """An application's session, beside those of workers."""
    opened = Session(database)
    yield opened
    opened.close()


@pytest.fixture
def worker(database: str) -> Iterator[WorkerSession]:
    """A session that is registered as a worker's."""
    opened = WorkerSession(database)
    yield opened
    opened.close()


@pytest.fixture
def jobs(database: str) -> Iterator[Queue]:
    """The queue as an application and its operator see it, with the sample application's table."""
    with queue(database) as opened:
        yield opened


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user may enter, for a server of the test's own."""
    with open_directory() as directory:
        yield directory


@pytest.fixture(scope="session")
def adopting() -> None:
    """Orphans of the tests' processes become our children, so that they can be found."""
    linux.adopt_orphans()


@pytest.fixture(autouse=True)
def no_process_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that leaves processes behind, and kills them. Pure tests start none."""
    if "unit" in request.path.parts:
        yield
        return
    request.getfixturevalue("adopting")
    before = frozenset(psutil.Process().children())
    yield
    survivors = end_of(descendants(excluding=before), _PATIENCE)
    if survivors:
        shown = "\n".join(describe(process) for process in survivors)
        for process in survivors:
            process.kill()
        end_of(survivors, _PATIENCE)
        pytest.fail(f"the test left processes behind:\n{shown}")
