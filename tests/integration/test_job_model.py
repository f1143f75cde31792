"""What models add to delayed calls: bypass, auto-delay, more stored values, related actions, search."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import psycopg2
import pytest

from queuejobs import Environment, Job, Model, NoSuchMethodError, Queue, chain, group, job_function


class Order(Model):
    _name = "test.model.order"
    done: list[Any] = []  # noqa: RUF012 - what ran, emptied by the fixture

    def _job_prepare_context_before_enqueue_keys(self) -> tuple[str, ...]:
        return ("tz", "shop")

    def _job_store_values(self, job: Job) -> dict[str, Any]:
        extra: dict[str, Any] = self.env.context.get("extra", {})
        return extra

    def _job_store_values_for_send(self, job: Job) -> dict[str, Any]:
        return {"label": f"send {job.args[0]}"} if self.env.context.get("extra") else {}

    @job_function(related_action={"func_name": "open_order", "kwargs": {"title": "Order"}})
    def send(self, what: Any = None) -> Any:
        """Send it."""
        self.done.append((what, self.env.context.get("job_uuid") is not None))
        return what

    def confirm(self, what: Any) -> Any:
        return self.with_delay().send(what).result

    @job_function(related_action={"enable": False})
    def secret(self) -> None: ...

    @job_function(related_action={"func_name": "of_the_queue", "kwargs": {"n": 2}})
    def queued(self) -> None: ...

    @job_function(related_action={"func_name": "nowhere"})
    def lost(self) -> None: ...

    def plain(self) -> None: ...

    def open_order(self, title: str) -> dict[str, Any]:
        return {"title": title, "ids": self.ids}

    def auto(self, n: int) -> str:
        self.done.append(("auto", n))
        return "called"

    def auto_job_options(self, n: int) -> dict[str, Any]:
        return {"priority": n, "channel": "auto"}

    def always(self) -> str:
        return "called"


class ShopQueue(Queue):
    _name = "queue.job"

    def of_the_queue(self, n: int) -> str:
        return f"{self.method_name} {self.records.ids} {n}"


Order._patch_job_auto_delay("auto", context_key="auto_delay")
Order._patch_job_auto_delay("always")


@pytest.fixture
def env(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Environment]:
    monkeypatch.setattr(Order, "done", [])
    connection = psycopg2.connect(database)
    yield Environment(connection)
    connection.close()


@pytest.fixture
def orders(env: Environment) -> Any:
    return env["test.model.order"].browse([1, 2])


def count(env: Environment) -> int:
    env.cr.execute("select count(*) from queuemaster.queue_job")
    return int(env.cr.fetchone()[0])


@pytest.mark.parametrize("name", ["QUEUE_JOB__NO_DELAY", "TEST_QUEUE_JOB_NO_DELAY"])
def test_the_environment_bypasses_the_queue(orders: Any, monkeypatch: Any, caplog: Any, name: str) -> None:
    monkeypatch.setenv(name, "1")
    job = orders.with_delay().send("x")
    assert (job.state, job.result, Order.done, count(orders.env)) == ("done", "x", [("x", True)], 0)
    assert job.wait(timeout=0) is job
    assert "never in production" in caplog.text
    monkeypatch.setenv(name, "0")
    assert orders.with_delay().send("y").state == "pending"


@pytest.mark.parametrize("key", ["queue_job__no_delay", "test_queue_job_no_delay"])
def test_one_such_context_bypasses_the_queue_for_a_whole_graph(orders: Any, key: str) -> None:
    direct = orders.with_context(**{key: True})
    a, b, c = orders.delayable().send("a"), orders.delayable().send("b"), direct.delayable().send("c")
    jobs = chain(group(a, b), c).delay()
    assert [value for value, _ in Order.done] == ["a", "b", "c"]
    assert ({job.state for job in jobs}, count(orders.env)) == ({"done"}, 0)
    # a job that is run inline also runs the jobs that it delays inline
    assert direct.confirm("d") == "d"
    orders.env.delay_many([orders.delayable().send("stored"), direct.delayable().send("direct")])
    assert (Order.done[-1][0], count(orders.env)) == ("direct", 1)


def test_an_error_of_a_bypassed_job_is_the_callers(orders: Any) -> None:
    direct = orders.with_context(queue_job__no_delay=True)
    with pytest.raises(TypeError, match="unexpected"):
        chain(direct.delayable().send(nothing=1), direct.delayable().send("after")).delay()
    assert Order.done == []


def test_a_plain_call_is_delayed_when_the_context_asks_for_it(orders: Any) -> None:
    assert orders.auto(3) == "called"
    job = orders.with_context(auto_delay=True).auto(4)
    assert (job.priority, job.channel, job.args, job.state) == (4, "root.auto", (4,), "pending")
    assert Order.done == [("auto", 3)]
    # inside a job it is an ordinary call
    assert orders.with_context(auto_delay=True, job_uuid="u").auto(5) == "called"
    assert orders.with_context(auto_delay=True, queue_job__no_delay=True).auto(6) == "called"


def test_without_a_context_key_every_plain_call_is_delayed(orders: Any) -> None:
    assert orders.always().state == "pending"
    assert orders.with_context(job_uuid="u").always() == "called"


def test_only_allowed_context_is_stored(orders: Any) -> None:
    job = orders.with_context(tz="UTC", shop=3, lang="de").with_delay().send(orders.with_context(shop=4))
    stored = Job.load(orders.env, job.uuid)
    assert dict(stored.records.env.context) == {"tz": "UTC", "shop": 3}
    assert dict(stored.args[0].env.context) == {"shop": 4}


def test_more_values_are_stored_in_columns_of_the_application(orders: Any, caplog: Any) -> None:
    cr = orders.env.cr
    cr.execute(
        'alter table queuemaster.queue_job add label varchar(20), add "Shop %" integer, add at timestamp'
    )
    moment = datetime(2024, 1, 2, 3, 4)
    extra = {
        "label": "overridden by the method's own",
        "Shop %": 7,
        "at": moment,
        "priority": 1,
        "state": "done",
    }
    jobs = orders.env.delay_many(
        [orders.with_context(extra=extra).delayable().send("100 %"), orders.delayable().send("none")]
    )
    cr.execute('select label, "Shop %", at, priority, state from queuemaster.queue_job order by id')
    assert cr.fetchall() == [("send 100 %", 7, moment, 10, "pending"), (None, None, None, 10, "pending")]
    assert [job.priority for job in jobs] == [10, 10]
    assert "values for priority, state of" in caplog.text


def test_a_column_that_is_not_there_is_named(orders: Any) -> None:
    with pytest.raises(ValueError, match="has no column 'label': add it with"):
        orders.with_context(extra={"label": 1}).with_delay().send("x")
    assert count(orders.env) == 0


def test_related_actions(orders: Any) -> None:
    assert orders.with_delay().send("x").related_action() == {"title": "Order", "ids": [1, 2]}
    assert orders.with_delay().secret().related_action() is None
    assert orders.with_delay().queued().related_action() == "queued [1, 2] 2"
    opened = orders.with_delay().plain().related_action()
    assert (opened["res_model"], opened["domain"]) == ("test.model.order", [["id", "in", [1, 2]]])
    assert orders[0].with_delay().plain().related_action()["res_id"] == 1
    assert orders.browse().with_delay().plain().related_action() is None
    with pytest.raises(NoSuchMethodError, match="nowhere"):
        orders.with_delay().lost().related_action()


def test_search_finds_jobs_by_their_columns(env: Environment, orders: Any) -> None:
    a = orders.with_delay(priority=1, identity_key="k").send("a")
    b = orders.with_delay(priority=2, description="50 % off").send("b")
    c = orders.with_delay(priority=3, eta=3600).plain()
    queue = env["queue.job"]

    def matching(*domain: Any, **options: Any) -> list[Job]:
        jobs: list[Job] = queue.search(domain, **options)
        return jobs

    assert matching() == [a, b, c]
    assert matching(("state", "=", "pending"), ("priority", ">", 1), order="priority desc") == [c, b]
    assert matching(order="priority desc, id", limit=1) == [c]
    assert matching(("priority", "in", [1, 3])) == [a, c]
    assert matching(("priority", "not in", [1, 3])) == [b]
    assert matching(("priority", "in", [])) == []
    assert matching(("priority", "not in", [])) == [a, b, c]
    assert matching(("identity_key", "=", None)) == [b, c]
    assert matching(("identity_key", "!=", None)) == [a]
    assert matching(("identity_key", "!=", "k")) == [b, c]
    assert matching(("identity_key", "not in", ["k"])) == [b, c]
    assert matching(("identity_key", "in", ["k", None])) == [a, b, c]
    assert matching(("name", "like", "% off")) == [b]
    assert matching(("args", "=", '["a"]')) == [a]
    env.cr.execute("set timezone = 'Asia/Tokyo'")  # the session's zone must not matter
    soon = datetime.now(timezone(timedelta(hours=5))) + timedelta(minutes=5)
    assert matching(("eta", ">", soon)) == [c]
    assert queue.browse([c.id, a.id]).jobs() == [c, a]
    assert queue.browse(a.id).uuid == a.uuid
    with pytest.raises(AttributeError, match="no single job"):
        _ = queue.browse([a.id, b.id]).uuid
    with pytest.raises(AttributeError, match="is gone"):
        _ = queue.browse(0).uuid


@pytest.mark.parametrize(
    ("domain", "options", "says"),
    [
        ([("stat", "=", 1)], {}, "no column 'stat'; it has: id, uuid"),
        ([("state", "==", 1)], {}, "unknown operator '=='; there are: ="),
        (["state"], {}, r"expected \(column, operator, value\)"),
        ([], {"order": "id; drop table x"}, "expected a column, then asc or desc"),
        ([], {"order": "nothing"}, "no column 'nothing'"),
    ],
)
def test_a_wrong_search_is_refused(env: Environment, domain: Any, options: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        env["queue.job"].search(domain, **options)
