"""``queuejobs.testing``, with which applications test their own delayed calls."""

from __future__ import annotations

import unittest
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest

from queuejobs import Environment, Model, chain, group, job_function
from queuejobs.testing import external_env, trap_jobs


class Mail(Model):
    _name = "test.testing.mail"
    sent: list[Any] = []  # noqa: RUF012 - what ran, emptied by the fixture

    @job_function(channel="mail")
    def send(self, name: Any, count: int = 1) -> None:
        self.sent.append((name, count, self.ids))

    def other(self) -> None:
        self.sent.append("other")

    def fan_out(self) -> None:
        self.sent.append("fan_out")
        self.with_delay().send("later")

    def fail(self) -> None:
        raise RuntimeError("no server")


@pytest.fixture
def env(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Environment]:
    monkeypatch.setattr(Mail, "sent", [])
    connection = psycopg2.connect(database)
    yield Environment(connection)
    connection.close()


@pytest.fixture
def mails(env: Environment) -> Any:
    return env["test.testing.mail"].browse([1, 2])


def test_trapped_jobs_are_not_stored(env: Environment, mails: Any) -> None:
    with trap_jobs() as trap:
        job = mails.with_delay().send("x")
        assert (trap.jobs_count(), trap.enqueued_jobs) == (1, [job])
        with trap_jobs(env) as inner:
            mails.with_delay().other()
            inner.assert_jobs_count(1)
        trap.assert_jobs_count(1)
    mails.with_delay().send("stored")
    assert [job.args for job in env["queue.job"].search()] == [("stored",)]


def test_jobs_are_counted(mails: Any) -> None:
    with trap_jobs() as trap:
        trap.assert_jobs_count(0)
        mails.with_delay().send("x")
        mails.browse(3).with_delay().send("y")
        mails.with_delay().other()
        trap.assert_jobs_count(3)
        trap.assert_jobs_count(2, only=mails.send)
        trap.assert_jobs_count(2, model="test.testing.mail", method="send")
        trap.assert_jobs_count(3, model="test.testing.mail")
        trap.assert_jobs_count(0, only=mails.fail)
        with pytest.raises(AssertionError) as wrong:
            trap.assert_jobs_count(1, only=mails.send)
        assert str(wrong.value) == (
            "expected 1 jobs of test.testing.mail.send, found 2; enqueued were:"
            "\n * test.testing.mail(1, 2).send('x') with no properties"
            "\n * test.testing.mail(3).send('y') with no properties"
            "\n * test.testing.mail(1, 2).other() with no properties"
        )
        with pytest.raises(TypeError, match=r"records\.method"):
            trap.assert_jobs_count(1, only=print)


def test_a_call_is_asserted_exactly_and_its_properties_in_part(mails: Any) -> None:
    with trap_jobs() as trap:
        mails.with_delay(priority=15, eta=60, identity_key="k").send("Hi!", count=2)
        expected: dict[str, Any] = {"args": ("Hi!",), "kwargs": {"count": 2}}
        trap.assert_enqueued_job(mails.send, **expected)
        trap.assert_enqueued_job(mails.send, **expected, properties={"priority": 15, "eta": 60})
        trap.assert_enqueued_job(
            mails.send, **expected, properties={"channel": "root.mail", "max_retries": 5}
        )
        trap.assert_enqueued_job("test.testing.mail", "send")
        trap.assert_enqueued_job("test.testing.mail", "send", args=["Hi!"], properties={"identity_key": "k"})
        for method, wrong in [
            (mails.send, {}),
            (mails.send, {"args": ("Hi!",)}),
            (mails.send, {**expected, "args": ("Ho!",)}),
            (mails.send, {**expected, "properties": {"priority": 14}}),
            (mails.send, {**expected, "properties": {"eta": 61}}),
            (mails.browse(1).send, expected),
            (mails.other, {}),
        ]:
            with pytest.raises(AssertionError, match=r"was not enqueued with (?s:.*)\n \* test.*priority=15"):
                trap.assert_enqueued_job(method, **wrong)
        with pytest.raises(
            AssertionError, match=r"test\.testing\.mail\.other was not enqueued with anything"
        ):
            trap.assert_enqueued_job("test.testing.mail", "other")
    with trap_jobs() as trap, pytest.raises(AssertionError, match="nothing was enqueued"):
        trap.assert_enqueued_job(mails.send)


def test_trapped_jobs_are_performed_by_priority_and_graphs_by_dependency(mails: Any) -> None:
    with trap_jobs() as trap:
        a, b, c = (mails.delayable(priority=priority).send(priority) for priority in (3, 2, 1))
        chain(group(a, b), c).delay()
        mails.with_delay(priority=9).send("last")
        mails.with_delay(priority=5).send("first")
        trap.perform_enqueued_jobs()
        assert [name for name, _, _ in Mail.sent] == ["first", "last", 3, 2, 1]
        trap.assert_jobs_count(0)
        trap.assert_enqueued_job(mails.send, args=("last",))


def test_what_a_performed_job_delays_waits_in_the_trap(mails: Any) -> None:
    with trap_jobs() as trap:
        mails.with_delay().fan_out()
        trap.perform_enqueued_jobs()
        trap.assert_jobs_count(1, only=mails.send)
        trap.perform_enqueued_jobs()
    assert Mail.sent == ["fan_out", ("later", 1, [1, 2])]


def test_the_error_of_a_performed_job_is_the_callers(mails: Any) -> None:
    with trap_jobs() as trap:
        mails.with_delay().fail()
        with pytest.raises(RuntimeError, match="no server"):
            trap.perform_enqueued_jobs()


def test_identities_hold_in_the_trap_and_errors_show(mails: Any) -> None:
    with trap_jobs() as trap:
        job = mails.with_delay(identity_key="k").send("x")
        assert mails.with_delay(identity_key="k").send("y") == job
        trap.assert_jobs_count(1)
        with pytest.raises(TypeError, match="argument 1"):
            mails.with_delay().send({1})


def test_the_trap_ends_with_its_block_even_by_an_error(env: Environment, mails: Any) -> None:
    with pytest.raises(KeyError), trap_jobs():
        raise KeyError
    mails.with_delay().other()
    assert len(env["queue.job"].search()) == 1


def test_an_external_environment_is_another_transaction(env: Environment, mails: Any) -> None:
    mails.with_delay().send("x")
    with external_env(env) as (cr, other):
        assert other["queue.job"].search([("state", "=", "pending")]) == []
        env.cr.connection.commit()
        cr.rollback()
        assert len(other["queue.job"].search([("state", "=", "pending")])) == 1
        other["test.testing.mail"].with_delay().other()
        cr.commit()
        other["test.testing.mail"].with_delay().other()
    assert len(env["queue.job"].search()) == 2
    assert cr.closed or cr.connection.closed


def test_it_works_in_unittest_too(mails: Any) -> None:
    class Case(unittest.TestCase):
        def test_count(self) -> None:
            with trap_jobs() as trap:
                mails.with_delay().send("x")
                trap.assert_jobs_count(2)

    result = unittest.TestResult()
    Case("test_count").run(result)
    assert len(result.failures) == 1
    assert result.errors == []
