"""``queuemaster why`` explains why a job waits, on a real PostgreSQL."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from queuemaster.cli import main
from support.rows import Session, WorkerSession


@pytest.fixture
def leader(database: str) -> Iterator[Session]:
    """A session that leads, as that of a dispatcher does."""
    opened = Session(database)
    opened.rows("select pg_advisory_lock(1363935232, 0)")
    opened.rows("select queuemaster.lead('here')")
    yield opened
    opened.close()


def why(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["why", "--pidfile", "/nonexistent/pid", *map(str, arguments)])


def document(*arguments: str) -> dict[str, Any]:
    result = why(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def verdicts(answer: dict[str, Any]) -> dict[str, str]:
    return {gate["gate"]: gate["verdict"] for gate in answer["gates"]}


def says(answer: dict[str, Any], gate: str) -> str:
    return next(str(entry["says"]) for entry in answer["gates"] if entry["gate"] == gate)


def test_a_job_that_nothing_holds(
    database: str, session: Session, leader: Session, worker: WorkerSession
) -> None:
    session.add(uuid="free")
    answer = document("free", "--database", database, "--channels", "root:4")
    assert answer["summary"] == "Nothing holds it: it may start at any moment."
    assert set(verdicts(answer).values()) == {"open"}
    assert list(verdicts(answer)) == [
        "state", "dependencies", "eta", "channel", "capacity", "throttle", "rate", "sequential", "pause",
        "order", "leader", "database", "worker",
    ]  # fmt: skip


def test_capacity_names_the_jobs_that_hold_the_slots(
    database: str, session: Session, leader: Session, worker: WorkerSession
) -> None:
    worker.start(session.add(uuid="runs", channel="root.mail"))
    session.add(uuid="waits", channel="root.mail.bulk")
    answer = document("waits", "--database", database, "--channels", "root:4,mail:1")
    assert answer["summary"].startswith(
        "It waits because the slot of channel root.mail is in use, by runs (sample.write, for "
    )
    assert f"worker {worker.process.pid} on here" in answer["summary"]
    (gate,) = (gate for gate in answer["gates"] if gate["verdict"] == "shut")
    assert [holder["uuid"] for holder in gate["holders"]] == ["runs"]
    assert says(answer, "channel").endswith("it runs in root.mail, the nearest above")


def test_the_root_cause_of_a_chain_is_found(database: str, session: Session, leader: Session) -> None:
    first = session.add("failed", uuid="first", exc_name="ValueError", exc_message="no such thing\nmore")
    second = session.add("wait_dependencies", uuid="second")
    third = session.add("wait_dependencies", uuid="third")
    session.depend(second, first)
    session.depend(third, second)
    answer = document("third", "--database", database)
    assert answer["summary"].startswith(
        "It waits because it waits for 1 job, and above them first (sample.write) failed: ValueError: no such thing;"
        " queuemaster jobs requeue first"
    )
    assert document("second", "--database", database)["summary"].startswith(
        "It waits because it waits for 1 job, and one of them first (sample.write) failed"
    )


def test_parents_that_are_done_hold_nothing(database: str, session: Session, leader: Session) -> None:
    child = session.add("wait_dependencies", uuid="child")
    session.depend(child, session.add("done", uuid="done"), session.add(uuid="ready"))
    assert says(document("child", "--database", database), "dependencies") == (
        "it waits for 1 job: ready (sample.write), pending"
    )


def test_time_order_and_try(database: str, session: Session, leader: Session) -> None:
    session.add(uuid="later", retry=2, eta="2999-01-01", exc_name="RetryableJobError", exc_message="not yet")
    answer = document("later", "--database", database, "--channels", "root:1")
    assert "due in 355" in says(answer, "eta")
    assert "tried 2 of 5 times, the last one: RetryableJobError: not yet" in says(answer, "state")
    for number in range(5):
        session.add(uuid=f"better-{number}", priority=1)
    session.add(uuid="worse")
    answer = document("worse", "--database", database, "--channels", "root:1")
    assert says(answer, "order") == (
        "5 ready jobs of its channel come before it: better-0 (sample.write), better-1 (sample.write),"
        " better-2 (sample.write) and 2 more"
    )


def test_a_sequential_channel_names_what_blocks_it(database: str, session: Session, leader: Session) -> None:
    session.add("failed", uuid="broken", channel="root.seq", exc_name="KeyError", exc_message="7")
    session.add(uuid="next", channel="root.seq")
    session.add(uuid="other", channel="root.par")
    arguments = ("--database", database, "--channels", "root:4,seq:1:sequential,par:1")
    assert (
        "broken (sample.write, failed: KeyError: 7) holds all others"
        in document("next", *arguments)["summary"]
    )
    assert verdicts(document("other", *arguments))["sequential"] == "open"
    session.rows(
        "update queuemaster.queue_job set state = 'pending', eta = '2999-01-01' where uuid = 'broken'"
    )
    assert "is sequential, and broken (sample.write, due in" in document("next", *arguments)["summary"]
    session.rows("update queuemaster.queue_job set eta = null where uuid = 'broken'")
    assert "broken (sample.write) come" in document("next", *arguments)["summary"]


def seconds_to_the_next(summary: str) -> int:
    """The seconds in ``… the next in 8 min 59 s …``. They get fewer while the test runs."""
    match = re.search(r"the next in ((?:\d+ (?:h|min|s) ?)+)", summary)
    assert match is not None, summary
    units = {"h": 3600, "min": 60, "s": 1}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+) (h|min|s)", match[1]))


def test_a_throttle_and_a_rate_say_when(
    database: str, session: Session, leader: Session, worker: WorkerSession
) -> None:
    row = worker.start(session.add(uuid="ran", channel="root.slow.sub"))
    assert worker.finish(row)
    session.rows("update queuemaster.queue_job set date_started = date_started - interval '1 minute'")
    session.add(uuid="waits", channel="root.slow")
    slow = document("waits", "--database", database, "--channels", "root:4,slow:4:throttle=600")
    assert "channel root.slow allows 10 min between two starts" in slow["summary"]
    assert 8 * 60 < seconds_to_the_next(slow["summary"]) <= 9 * 60
    rated = document("waits", "--database", database, "--channels", "root:4,slow:4:rate=2/h")
    assert "channel root.slow allows 2/h starts: as far as the database knows" in rated["summary"]
    assert 28 * 60 < seconds_to_the_next(rated["summary"]) <= 29 * 60
    burst = document("waits", "--database", database, "--channels", "root:4,slow:4:rate=2/h:burst=2")
    assert verdicts(burst)["rate"] == "open"


def test_who_paused_it(database: str, session: Session, leader: Session) -> None:
    session.add(uuid="waits", channel="root.mail.bulk")
    configured = document("waits", "--database", database, "--channels", "root:4,mail:2:paused,mail.bulk:1")
    assert "channel root.mail is paused by the configuration" in configured["summary"]
    session.rows("insert into queuemaster.control (channel, paused) values ('root.mail', true)")
    live = document("waits", "--database", database, "--channels", "root:4,mail:2,mail.bulk:1")
    assert "channel root.mail was paused live, in database test_" in live["summary"]
    assert "queuemaster channel root.mail --resume" in live["summary"]
    session.rows("update queuemaster.control set paused = null, capacity = 0")
    answer = document("waits", "--database", database, "--channels", "root:4,mail:2,mail.bulk:1")
    assert "channel root.mail has capacity 0" in answer["summary"]


def test_nobody_leads_or_the_leader_is_silent(database: str, session: Session) -> None:
    session.add(uuid="waits")
    answer = document("waits", "--database", database, "--channels", "root:1")
    assert answer["summary"].startswith("It waits because no supervisor serves database test_")
    leads = Session(database)
    try:
        leads.rows("select pg_advisory_lock(1363935232, 0)")
        assert "about to take over" in document("waits", "--database", database)["summary"]
        leads.rows("select queuemaster.lead('far')")
        leads.rows("update queuemaster.leader set beat = queuemaster.utc_now() - interval '5 minutes'")
        answer = document("waits", "--database", database)
        assert "the dispatcher on far leads, but has not been heard of for 5 min" in answer["summary"]
    finally:
        leads.close()


def test_no_worker_has_come(database: str, session: Session, leader: Session) -> None:
    session.add(uuid="old", date_created="2020-01-01")
    answer = document("old", "--database", database, "--channels", "root:1")
    assert "no worker of root has come for it in" in answer["summary"]
    session.rows("update queuemaster.queue_job set date_created = queuemaster.utc_now()")
    answer = document("old", "--database", database, "--channels", "root:1")
    assert verdicts(answer)["worker"] == "unknown"
    assert answer["summary"] == "Nothing that can be seen from here holds it. Not known: worker."


def test_jobs_that_do_not_wait(
    database: str, session: Session, leader: Session, worker: WorkerSession
) -> None:
    session.add("failed", uuid="failed", retry=5, exc_name="KeyError", exc_message="7")
    answer = document("failed", "--database", database)
    assert answer["waits"] is False
    assert answer["summary"] == (
        "It does not wait: it failed after 5 of 5 tries, KeyError: 7; when that is fixed:"
        " queuemaster jobs requeue failed."
    )
    worker.start(session.add(uuid="runs"))
    runs = document("runs", "--database", database)["summary"]
    assert runs.startswith("It runs for ")
    assert f"attempt 1, worker {worker.process.pid} on here" in runs
    worker.close()
    assert "is gone: the leader puts it back" in document("runs", "--database", database)["summary"]
    session.add("done", uuid="done", date_done="2020-01-01")
    assert document("done", "--database", database)["summary"].startswith("It does not wait: it was done ")


def test_an_older_schema_is_a_gate_and_a_missing_one_a_problem(
    database: str, empty_database: str, session: Session, leader: Session
) -> None:
    session.add(uuid="waits")
    session.rows("update queuemaster.schema_version set version = 0")
    answer = document("waits", "--database", database)
    assert answer["summary"].startswith("It waits because no supervisor of this version accepts test_")
    assert "its schema is older" in answer["summary"]
    result = why("waits", "--database", empty_database, "--database", database)
    assert result.exit_code == 0
    assert "it has no queue yet" in result.stderr
    assert why("waits", "--database", empty_database).exit_code == 2


def test_no_such_job(database: str) -> None:
    result = why("nothing", "--database", database)
    assert result.exit_code == 1
    assert "no job has the uuid nothing in test_" in result.stderr
    assert result.stdout == ""


def test_without_channels_it_says_what_is_not_known(database: str, session: Session, leader: Session) -> None:
    session.add(uuid="waits")
    result = why("waits", "--database", database)
    assert result.exit_code == 0
    assert result.stdout.startswith(
        "Nothing that can be seen from here holds it. Not known: channel, worker."
    )
    assert "name the configuration with -c or --channels" in result.stdout
    assert "\x1b" not in result.stdout


def test_nothing_is_written(database: str, session: Session, leader: Session) -> None:
    session.add(uuid="waits")
    before = session.rows("select xmin, ctid from queuemaster.queue_job")
    document("waits", "--database", database, "--channels", "root:1:rate=1/h")
    assert session.rows("select xmin, ctid from queuemaster.queue_job") == before
