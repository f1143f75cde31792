"""The supervisor beside Odoo, on the tables of each version, with a stand-in for Odoo that runs rows as ODOO.md says.

What runs on a real Odoo 19 is in tests/odoo.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from queuejobs.store import oca
from queuemaster.config.compiled import ServerPlan
from support.besideodoo import EFFECTS, beside_odoo
from support.ocaqueue import VERSIONS, OcaSession, new_oca_database
from support.supervised import PATIENCE
from support.waiting import wait_until

AGES_AGO = datetime(2026, 1, 1)
pytestmark = pytest.mark.usefixtures("adopting")


class Odoo(OcaSession):
    """Odoo's side of a test: it adds jobs and reads their rows and effects."""

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn)
        self.rows(EFFECTS)

    def call(self, method: str, *arguments: Any, **columns: Any) -> int:
        """Add a job that calls a method of the stand-in's only model; return its id."""
        return self.add(method_name=method, arguments=list(arguments), **columns)

    def job(self, job: int) -> dict[str, Any]:
        """The job's row in the addon's table, since our views may not exist yet."""
        text = self.value("select row_to_json(job)::text from public.queue_job job where id = %s", job)
        row: dict[str, Any] = json.loads(text)
        return row

    def state(self, job: int) -> str:
        return str(self.job(job)["state"])

    def ends(self, job: int, state: str) -> dict[str, Any]:
        """Wait until the job has this state; return its row."""
        return wait_until(
            lambda: (row := self.job(job))["state"] == state and row,
            PATIENCE,
            lambda: f"{state}, and not {self.job(job)}",
        )

    def effects(self, job: int) -> list[str]:
        return [
            what
            for (what,) in self.rows("select what from effect where job = %s order by id", self.uuid(job))
        ]


@pytest.fixture
def database(server: ServerPlan, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database that we have not touched yet, of the version in the test's parameter, else of the newest."""
    with new_oca_database(server, getattr(request, "param", VERSIONS[-1]), install=False) as dsn:
        yield dsn


@pytest.fixture
def odoo(database: str) -> Iterator[Odoo]:
    opened = Odoo(database)
    yield opened
    opened.close()


@pytest.mark.parametrize("database", VERSIONS, indirect=True)
@pytest.mark.parametrize("direct", ["yes", "no"])
def test_jobs_of_every_kind_end_as_with_the_addons_runner(
    odoo: Odoo, database: str, tmp_path: Path, direct: str, request: pytest.FixtureRequest
) -> None:
    version = request.node.callspec.params["database"]
    parent, child = odoo.call("work", "hello"), odoo.call("work")
    odoo.depend(child, parent)
    broken, again, late = odoo.call("broken"), odoo.call("again", max_retries=1), odoo.call("work")
    odoo.rows(
        "update queue_job set eta = now() at time zone 'utc' + interval '2 seconds' where id = %s", late
    )
    commits = odoo.call("commits")
    with beside_odoo(database, tmp_path, version, options=["--set", f"direct={direct}"]) as running:
        done = odoo.ends(parent, "done")
        assert (done["result"], done["retry"], odoo.effects(parent)) == ("hello", 1, ["work"])
        assert None not in (done["date_enqueued"], done["date_started"], done["date_done"])
        odoo.ends(child, "done")
        failed = odoo.ends(broken, "failed")
        assert "it is broken" in failed["exc_message"]
        assert "ValueError" in failed["exc_name"]
        assert "Traceback" in failed["exc_info"]
        assert odoo.effects(broken) == (["on_fail ValueError"] if version >= 18 else [])
        assert "Max. retries (1) reached" in odoo.ends(again, "failed")["exc_message"]
        odoo.ends(late, "done")
        odoo.ends(commits, "done")
        assert running.stop() == 0
    assert odoo.rows("select * from queuemaster.run") == []


def test_a_postponed_job_is_run_again(odoo: Odoo, database: str, tmp_path: Path) -> None:
    job = odoo.call("again", max_retries=3)
    with beside_odoo(database, tmp_path):
        odoo.ends(job, "failed")
    assert odoo.job(job)["retry"] == 3


# which runner is in charge


def test_the_addons_runner_leads_until_it_lets_go(odoo: Odoo, database: str, tmp_path: Path) -> None:
    job = odoo.call("work")
    assert odoo.value("select pg_try_advisory_lock(%s)", oca.STOCK_LEADER)
    with beside_odoo(database, tmp_path) as running:
        wait_until(
            lambda: "another dispatcher leads, standing by" in running.log, PATIENCE, lambda: running.log
        )
        assert odoo.state(job) == "pending"
        assert odoo.rows("select 1 from pg_namespace where nspname = 'queuemaster'") == [], (
            "we have touched nothing"
        )
        odoo.rows("select pg_advisory_unlock(%s)", oca.STOCK_LEADER)
        wait_until(lambda: odoo.value("select state from queue_job where id = %s", job) == "done", PATIENCE)
        assert not odoo.value("select pg_try_advisory_lock(%s)", oca.STOCK_LEADER), (
            "our dispatcher leads and holds the addon's lock"
        )
        for process in running.everything():
            process.kill()
        wait_until(lambda: odoo.value("select pg_try_advisory_lock(%s)", oca.STOCK_LEADER), PATIENCE)


def test_jobs_wait_while_modules_change(odoo: Odoo, database: str, tmp_path: Path) -> None:
    with beside_odoo(database, tmp_path) as running:
        first = odoo.call("work")
        odoo.ends(first, "done")
        template = running.one("template").pid
        odoo.rows("insert into ir_module_module (name, state) values ('sale', 'to upgrade')")
        wait_until(lambda: "jobs wait: modules are changing" in running.log, PATIENCE)
        second = odoo.call("work")
        # after another look for changing modules it still waits
        odoo.rows("select pg_sleep(3)")
        assert odoo.state(second) == "pending"
        odoo.rows("update ir_module_module set state = 'installed'")
        odoo.ends(second, "done")
        # a new template brings the new code
        wait_until(lambda: running.one("template").pid != template, PATIENCE)


def test_a_changed_registry_brings_a_new_template(odoo: Odoo, database: str, tmp_path: Path) -> None:
    with beside_odoo(database, tmp_path) as running:
        odoo.ends(odoo.call("work"), "done")
        template = running.one("template").pid
        odoo.rows("insert into orm_signaling_registry (date) values (now())")
        wait_until(lambda: running.one("template").pid != template, PATIENCE)


def test_a_database_without_the_addon_is_looked_at_again(odoo: Odoo, database: str, tmp_path: Path) -> None:
    odoo.rows("update ir_module_module set state = 'uninstalled' where name = 'queue_job'")
    with beside_odoo(database, tmp_path) as running:
        wait_until(lambda: "database is not served" in running.log, PATIENCE)
        assert odoo.rows("select 1 from pg_namespace where nspname = 'queuemaster'") == []


def test_a_database_that_refuses_us_does_not_hold_up_the_others(
    odoo: Odoo, database: str, server: ServerPlan, tmp_path: Path
) -> None:
    with new_oca_database(server, 19, install=False) as good:
        other_odoo = Odoo(good)
        names = f"{odoo.connection.info.dbname},{other_odoo.connection.info.dbname}"
        odoo.rows("alter table queue_job rename column priority to importance")
        with beside_odoo(database, tmp_path, names=names) as running:
            wait_until(lambda: "database is in quarantine" in running.log, PATIENCE, lambda: running.log)
            other_odoo.ends(other_odoo.call("work"), "done")
        other_odoo.close()


# rows that others change, processes that die


def test_what_an_operator_cancels_is_not_run(odoo: Odoo, database: str, tmp_path: Path) -> None:
    jobs = [odoo.call("work", priority=number) for number in range(60)]
    cancelled = jobs[30:]
    with beside_odoo(database, tmp_path, channels="root:2"):
        wait_until(lambda: odoo.value("select count(*) from queue_job where state = 'done'") >= 3, PATIENCE)
        cancelled_jobs = odoo.rows(
            "update queue_job set state = 'cancelled' where id = any(%s) and state = 'pending' returning id",
            cancelled,
        )
        wait_until(lambda: not odoo.value("select count(*) from queue_job where state = 'pending'"), PATIENCE)
    assert cancelled_jobs, "every job had run already: the test proves nothing"
    for (job,) in cancelled_jobs:
        assert (odoo.state(job), odoo.effects(job)) == ("cancelled", [])


def test_a_killed_workers_job_runs_again_at_once(odoo: Odoo, database: str, tmp_path: Path) -> None:
    with beside_odoo(database, tmp_path, channels="root:1") as running:
        job = odoo.call("slow", 3)
        odoo.ends(job, "started")
        victim = odoo.job(job)["worker_pid"]
        wait_until(
            lambda: odoo.rows("select 1 from pg_stat_activity where state = 'idle in transaction'"), PATIENCE
        )
        running.one("worker").send_signal(signal.SIGKILL)
        done = odoo.ends(job, "done")
        assert done["worker_pid"] != victim
        assert (done["retry"], odoo.effects(job)) == (2, ["slow"])


def test_a_job_that_kills_its_workers_fails_through_the_addon(
    odoo: Odoo, database: str, tmp_path: Path
) -> None:
    job = odoo.call("dies")
    with beside_odoo(database, tmp_path):
        failed = odoo.ends(job, "failed")
        wait_until(lambda: odoo.effects(job), PATIENCE, "the effect of its on_fail method")
    assert "died 3 times" in failed["exc_message"]
    assert odoo.effects(job) == ["on_fail WorkerDied"]


def test_a_runaway_is_ended_with_the_cause_on_it(odoo: Odoo, database: str, tmp_path: Path) -> None:
    job = odoo.call("slow", 600, max_retries=1)
    with beside_odoo(database, tmp_path, options=["--set", "timeout=2"]):
        failed = odoo.ends(job, "failed")
    assert "2 s" in failed["exc_message"]
    assert odoo.effects(job) == []


def test_a_worker_whose_session_was_ended_takes_the_next_job(
    odoo: Odoo, database: str, tmp_path: Path
) -> None:
    with beside_odoo(database, tmp_path, channels="root:1") as running:
        odoo.ends(odoo.call("work"), "done")
        worker = running.one("worker").pid
        (session,) = odoo.rows(
            "select pid from pg_stat_activity"
            " where application_name like 'queuemaster: worker%%' and datname = current_database()"
        )
        odoo.rows("select pg_terminate_backend(%s)", session[0])
        session_ended = "select not exists (select from pg_stat_activity where pid = %s)"
        wait_until(lambda: odoo.value(session_ended, session[0]), PATIENCE, "the session to end")
        odoo.ends(odoo.call("work", "again"), "done")
        assert running.one("worker").pid == worker
        # the dispatcher wakes the idle worker before it grants the job, so the loss is found before the claim
        assert running.log.count("lost session settled") == 1
        assert "claim failed" not in running.log


def test_everything_dies_in_a_drain(odoo: Odoo, database: str, tmp_path: Path) -> None:
    """Each job leaves its effect exactly once, whichever processes are killed."""
    jobs = [odoo.call("work") for _ in range(200)]
    with beside_odoo(database, tmp_path) as running:
        wait_until(lambda: odoo.value("select count(*) from effect") > 20, PATIENCE)
        for process in running.everything():
            process.kill()
        running.process.wait(PATIENCE)
    assert odoo.value("select count(*) from effect") < 200, (
        "every job was done already: the test proves nothing"
    )
    second = tmp_path / "second"
    second.mkdir()
    with beside_odoo(database, second):
        wait_until(lambda: odoo.value("select count(*) from queue_job where state <> 'done'") == 0, PATIENCE)
    assert (
        odoo.value("select count(distinct job) from effect")
        == odoo.value("select count(*) from effect")
        == len(jobs)
    )


def test_a_job_that_odoos_own_worker_runs_keeps_its_slot(odoo: Odoo, database: str, tmp_path: Path) -> None:
    """The addon's runner is killed while its job goes on over HTTP; the job uses a slot until it ends."""
    running_there = odoo.call(
        "work", state="started", date_enqueued=datetime(2026, 1, 1), date_started=datetime(2026, 1, 1)
    )
    odoo.rows("insert into queue_job_lock (id, queue_job_id) values (%s, %s)", running_there, running_there)
    rival = Odoo(database)
    rival.begin()
    rival.rows("select from queue_job_lock for no key update")
    job = odoo.call("work")
    with beside_odoo(database, tmp_path, channels="root:1") as running:
        wait_until(lambda: "leads" in running.log, PATIENCE)
        odoo.rows("select pg_sleep(2)")
        assert odoo.state(job) == "pending"
        rival.rows("update queue_job set state = 'done' where id = %s", running_there)
        rival.commit()
        odoo.ends(job, "done")
    rival.close()


# slices


@pytest.mark.parametrize("direct", ["yes", "no"])
def test_a_worker_goes_on_without_asking(odoo: Odoo, database: str, tmp_path: Path, direct: str) -> None:
    """The dispatcher is stopped meanwhile; each run of the slice still has its own start and end."""
    jobs = [odoo.call("slow", 0.05) for _ in range(40)]
    options = ["--set", f"direct={direct}", "--set", "slice=600"]

    def count_done() -> int:
        return int(odoo.value("select count(*) from public.queue_job where state = 'done'"))

    with beside_odoo(database, tmp_path, channels="root:1", options=options) as running:
        wait_until(lambda: count_done() > 3, PATIENCE, lambda: running.log)
        dispatcher = running.one("dispatcher")
        dispatcher.suspend()
        before = count_done()
        wait_until(
            lambda: count_done() > before + 10, PATIENCE, lambda: f"{before}, {count_done()}; {running.log}"
        )
        dispatcher.resume()
        for job in jobs:
            odoo.ends(job, "done")
        assert running.stop() == 0
    assert odoo.value("select max(coalesce(retry, 0)) from public.queue_job") == 1
    assert odoo.rows("select * from queuemaster.run") == []


def test_a_channel_that_waits_has_its_turn(odoo: Odoo, database: str, tmp_path: Path) -> None:
    uuids = [odoo.call("slow", 0.05, channel="root.a") for _ in range(60)]
    with beside_odoo(
        database, tmp_path, channels="root:1,a:1,b:1", options=["--set", "slice=600"]
    ) as running:
        odoo.ends(uuids[4], "done")
        urgent = odoo.call("work", channel="root.b", priority=1)
        odoo.ends(urgent, "done")
        assert odoo.state(uuids[-1]) == "pending"
        assert running.stop() == 0
