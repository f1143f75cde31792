"""Identity keys under concurrency: one job for each key, no long wait, and no job is lost."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg2
import pytest

from queuejobs import Environment, Model, chain, identity_exact


class Thing(Model):
    _name = "test.identity.thing"

    def run(self, *args: Any, **kwargs: Any) -> None: ...

    def walk(self, *args: Any, **kwargs: Any) -> None: ...


def things_of(connection: Any) -> Any:
    return Environment(connection)["test.identity.thing"]


@pytest.fixture
def things(connection: Any) -> Any:
    return things_of(connection)


def count(connection: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute("select count(*) from queuemaster.queue_job")
        return int(cursor.fetchone()[0])


@pytest.mark.parametrize("graph", [False, True])
def test_sixteen_at_once_make_one_job(database: str, connection: Any, graph: bool) -> None:
    barrier = threading.Barrier(16)

    def enqueue(number: int) -> str:
        own = psycopg2.connect(database)
        things = things_of(own)
        barrier.wait(timeout=60)
        if graph:
            # the keys come in opposite orders, so two transactions may wait for each other
            first, second = (
                things.delayable(identity_key=key).run(number) for key in ("ab", "ba")[number % 2]
            )
            uuids = "".join(
                sorted(job.uuid for job in chain(first, second, things.delayable().run()).delay()[:2])
            )
        else:
            uuids = things.with_delay(identity_key="one").run(number).uuid
        own.commit()
        own.close()
        return uuids

    with ThreadPoolExecutor(16) as pool:
        results = set(pool.map(enqueue, range(16)))
    assert len(results) == 1
    assert count(connection) == (3 if graph else 1)


def test_an_open_transaction_is_not_waited_for(
    database: str, connection: Any, things: Any, caplog: Any
) -> None:
    caplog.set_level("INFO")
    other = psycopg2.connect(database)
    other_job = things_of(other).with_delay(identity_key="one").run("theirs")
    # so that a wrong wait fails instead of hanging
    things.env.cr.execute("set lock_timeout = '7s'; set statement_timeout = '30s'")
    own_job = things.with_delay(identity_key="one").run("ours")
    bulk = things.env.delay_many(things.delayable(identity_key=key).run(key) for key in ("a", "one", "b"))
    things.env.cr.execute("show lock_timeout")
    assert things.env.cr.fetchone() == ("7s",)
    connection.commit()  # must not wait for the other transaction
    other.commit()
    other.close()
    assert own_job.uuid != other_job.uuid
    assert (own_job.identity_key, [job.identity_key for job in bulk]) == (None, ["a", None, "b"])
    assert "gives up its identity key 'one'" in caplog.text
    assert count(connection) == 5


def test_a_short_transaction_is_waited_for(database: str, things: Any) -> None:
    other = psycopg2.connect(database)
    other_job = things_of(other).with_delay(identity_key="one").run("theirs")

    def commit_when_waited_for() -> None:
        watcher = psycopg2.connect(database)
        watcher.autocommit = True
        deadline = time.monotonic() + 30
        with watcher.cursor() as cursor:
            while time.monotonic() < deadline:
                cursor.execute("select 1 from pg_locks where not granted and locktype = 'transactionid'")
                if cursor.fetchone():
                    break
        other.commit()
        watcher.close()

    thread = threading.Thread(target=commit_when_waited_for)
    thread.start()
    own_job = things.with_delay(identity_key="one").run("ours")
    thread.join()
    other.close()
    assert own_job.uuid == other_job.uuid


def test_a_lock_on_the_table_costs_no_job_its_identity(database: str, things: Any) -> None:
    other = psycopg2.connect(database)
    with other.cursor() as cursor:
        cursor.execute("lock table queuemaster.queue_job in share mode")
    release = threading.Timer(2, other.commit)  # longer than the wait for a key
    release.start()
    assert things.with_delay(identity_key="one").run().identity_key == "one"
    release.join()
    other.close()


def test_identity_exact_is_about_the_call(things: Any) -> None:
    def key(records: Any, method: str = "run", *args: Any, **kwargs: Any) -> str:
        job = getattr(records.with_delay(identity_key=identity_exact), method)(*args, **kwargs)
        return str(job.identity_key)

    expected = key(things.browse([2, 1]), "run", 1, a=things.browse(1), b=2)
    assert len(expected) == 40
    assert key(things.browse([1, 2]), "run", 1, b=2, a=things.browse(1)) == expected
    other_keys = {
        key(things.browse([1]), "run", 1, a=things.browse(1), b=2),
        key(things.browse([1, 2]), "walk", 1, a=things.browse(1), b=2),
        key(things.browse([1, 2]), "run", 2, a=things.browse(1), b=2),
        key(things.browse([1, 2]), "run", 1, a=things.browse(3), b=2),
        key(things.browse([1, 2]), "run", 1, a=things.browse(1)),
    }
    assert len(other_keys | {expected}) == 6
    assert key(things, "run", {"x": 1, "y": {}}) == key(things, "run", {"y": {}, "x": 1})


def test_a_started_job_does_not_hold_its_key(things: Any) -> None:
    first = things.with_delay(identity_key="one").run()
    things.env.cr.execute("update queuemaster.queue_job set state = 'started', worker_id = 1")
    assert things.with_delay(identity_key="one").run() != first
