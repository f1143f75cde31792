"""Fixtures: a real PostgreSQL for the session, a database for each test, no process left behind.

Under xdist each of its workers has a server of its own: nothing to share, nothing to lock.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator

import psutil
import pytest

from queuejobs.shared import linux
from queuemaster import embedded
from queuemaster.config.compiled import ServerPlan
from support.postgres import make_template, new_database
from support.processes import descendants, describe, end_of

_PATIENCE = 5.0

# whoever is started in the background of a script has it ignored, and so would the commands that tests start
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def server() -> Iterator[ServerPlan]:
    """The session's PostgreSQL, without durability. To kill a server, start one of your own."""
    with embedded.temporary() as plan:
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
    left = end_of(descendants(excluding=before), _PATIENCE)
    if left:
        shown = "\n".join(describe(process) for process in left)
        for process in left:
            process.kill()
        end_of(left, _PATIENCE)
        pytest.fail(f"the test left processes behind:\n{shown}")
