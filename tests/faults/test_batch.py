"""A channel's ``batch``: several jobs in one transaction. Each is done once, even if one fails or dies."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from queuemaster.cli import main
from support.rows import Session, in_background, wait_until_blocked
from support.supervised import PATIENCE, Queue, Supervised, queue, supervised
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)
OPTIONS = ["--set", "poison_after=2"]
COMMITS = "select count(*) from effect group by txid order by 1"


@pytest.fixture
def jobs(database: str) -> Iterator[Queue]:
    with queue(database) as opened:
        opened.rows("alter table effect add txid bigint default txid_current()")
        yield opened


def all_once(jobs: Queue, *numbers: int) -> None:
    assert jobs.effects() == sorted(numbers)


def test_so_many_in_one_transaction(jobs: Queue, database: str, tmp_path: Path) -> None:
    jobs.env.delay_many([jobs.sample(n).delayable().write() for n in range(25)])
    with supervised(database, tmp_path, "root:1:batch=10") as running:
        jobs.wait_until_drained()
        all_once(jobs, *range(25))
        assert jobs.rows(COMMITS) == [(5,), (10,), (10,)]
        assert jobs.rows("select distinct attempt, retry from queuemaster.queue_job") == [(1, 1)]
        assert running.log.count("job done") == 25
        # the dispatcher did not see each claim of the batch; it must still grant the jobs that come later
        jobs.wait_for(jobs.sample(99).with_delay().write().uuid, "done")


def test_max_jobs_counts_all_of_them(jobs: Queue, database: str, tmp_path: Path) -> None:
    jobs.env.delay_many([jobs.sample(n).delayable().write() for n in range(20)])
    with supervised(database, tmp_path, "root:1:batch=10:max_jobs=8") as running:
        jobs.wait_until_drained()
        assert "worker is replaced" in running.log
        assert 'reason="10 jobs"' in running.log


@pytest.mark.parametrize("how", ["fail", "crash", "leave", "break_transaction"])
def test_one_that_fails_leaves_the_batch_and_fails_alone(
    jobs: Queue, database: str, tmp_path: Path, how: str
) -> None:
    delayed = [jobs.sample(n).delayable(max_retries=1) for n in range(10)]
    jobs.env.delay_many(
        [getattr(sample, how)() if n == 4 else sample.write() for n, sample in enumerate(delayed)]
    )
    with supervised(database, tmp_path, "root:1:batch=10") as running:
        jobs.wait_until_drained()
        all_once(jobs, *(n for n in range(10) if n != 4))
        (failed,) = jobs.rows(
            "select records, attempt, retry from queuemaster.queue_job where state = 'failed'"
        )
        assert failed[0]["ids"] == [4]
        assert failed[1:] == (2, 1), "the job ran twice, and only the run that it had alone counts as a try"
        assert running.log.count("job leaves its batch") == 1
        assert jobs.rows(COMMITS) == [(4,), (5,)]


def test_one_that_runs_away_is_stopped_and_the_others_stay_done(
    jobs: Queue, database: str, tmp_path: Path
) -> None:
    delayed = [jobs.sample(n).delayable(timeout=0.5, max_retries=1) for n in range(6)]
    jobs.env.delay_many(
        [sample.write_slowly(600) if n == 3 else sample.write() for n, sample in enumerate(delayed)]
    )
    with supervised(database, tmp_path, "root:1:batch=10"):
        jobs.wait_until_drained()
        all_once(jobs, 0, 1, 2, 4, 5)
        failed = jobs.rows("select exc_message from queuemaster.queue_job where state = 'failed'")
        assert failed == [("Max. retries (1) reached: timeout after 0.5 s",)]


def test_who_kills_the_worker_is_found(jobs: Queue, database: str, tmp_path: Path) -> None:
    delayed = [jobs.sample(n).delayable() for n in range(12)]
    jobs.env.delay_many(
        [sample.always_die() if n == 5 else sample.write() for n, sample in enumerate(delayed)]
    )
    with supervised(database, tmp_path, "root:1:batch=10", OPTIONS) as running:
        jobs.wait_until_drained()
        all_once(jobs, *(n for n in range(12) if n != 5))
        (poison,) = jobs.rows("select deaths, exc_message from queuemaster.queue_job where state = 'failed'")
        assert poison[0] == 2
        assert "died 2 times in a row" in poison[1]
        # once as part of the batch, then twice alone
        assert running.log.count("how=SIGKILL busy=True") == 3


def test_a_commit_that_fails_is_charged_to_whom_it_fails_for(
    jobs: Queue, database: str, tmp_path: Path
) -> None:
    """A deferred constraint is checked at the commit, which does not say whose row violated it."""
    jobs.rows("create table once (number integer unique deferrable initially deferred)")
    jobs.rows(
        "create function note() returns trigger language plpgsql as $$ begin"
        " insert into once values (new.number / 2 * 2 + (new.number < 4)::integer * new.number % 2);"
        " return new; end $$"
    )
    jobs.rows("create trigger note after insert on effect for each row execute function note()")
    # jobs 0 to 3 write distinct notes, 4 and 5 write the same one
    jobs.env.delay_many([jobs.sample(n).delayable(max_retries=1).write() for n in range(6)])
    with supervised(database, tmp_path, "root:1:batch=10") as running:
        jobs.wait_until_drained()
        assert "batch broken" in running.log
        all_once(jobs, 0, 1, 2, 3, 4)
        (failed,) = jobs.rows("select records, exc_name from queuemaster.queue_job where state = 'failed'")
        assert failed[0]["ids"] == [5]
        assert "UniqueViolation" in failed[1]


APART = """
from queuejobs import job_function
from sampleapp import *

class Apart(Sample):
    _name = "apart"

    @job_function(isolation="read committed")
    def isolated(self): return self.write()

    @job_function(allow_commit=True)
    def committing(self): return self.write()

    def creates(self):
        self.write()
        self.env["sample"].browse([int(self.ids[0]) + 100]).with_delay().write()
"""
TOGETHER = "select array_agg(number order by number) from effect group by txid order by 1"


def test_what_may_not_share_a_transaction_runs_alone(jobs: Queue, database: str, tmp_path: Path) -> None:
    (tmp_path / "apart.py").write_text(APART)
    retried = jobs.sample(1).with_delay(priority=1, max_retries=3).write_when_tried_again()
    jobs.env.delay_many([jobs.sample(n).delayable(priority=2).write() for n in (2, 3)])
    parent = jobs.sample(4).delayable(priority=3).write()
    parent.on_done(jobs.sample(5).delayable(priority=3).write())
    parent.delay()
    for number, method in ((6, "isolated"), (7, "committing"), (8, "creates")):
        enqueue(jobs, number, method)
    for number in (9, 10):
        jobs.sample(number).with_delay(priority=4, identity_key=f"key {number}").write()
    with supervised(database, tmp_path, "root:1:batch=10", app="apart"):
        jobs.wait_until_drained()
        alone = [([n],) for n in (4, 5, 6, 7, 8, 9, 10, 108)]
        groups = jobs.rows(TOGETHER)
        assert [group for group in groups if group in alone] == alone
        assert ([2, 3],) in groups
        assert jobs.job(retried.uuid)["retry"] == 2


def enqueue(jobs: Queue, number: int, method: str) -> None:
    """Enqueue a job of the model ``apart``, which only the supervised application has."""
    jobs.rows(
        "insert into queuemaster.queue_job (uuid, model_name, method_name, records, priority)"
        " values (%s, 'apart', %s, %s, %s)",
        (
            f"apart {number}",
            method,
            f'{{"_type": "odoo_recordset", "model": "apart", "ids": [{number}]}}',
            number,
        ),
    )


def test_a_reload_ends_it(jobs: Queue, database: str, tmp_path: Path) -> None:
    jobs.rows("select pg_advisory_lock(4711, 1)")
    first = jobs.sample(0).with_delay(priority=1, channel="root.a").write_and_wait(1)
    jobs.env.delay_many([jobs.sample(n).delayable(channel="root.a").write() for n in range(1, 6)])
    with supervised(database, tmp_path, "root:2,a:1:batch=10,b:1") as running:
        jobs.wait_for(first.uuid, "started")
        before = running.one("worker", "root.b").pid
        running.process.send_signal(signal.SIGHUP)
        # the worker of root.b is told to retire like that of root.a, and is replaced at once
        wait_until(
            lambda: (
                before not in [worker.pid for worker in running.children("worker", "root.b")]
                and running.children("worker", "root.b")
            ),
            PATIENCE,
            lambda: running.log,
        )
        jobs.rows("select pg_advisory_unlock(4711, 1)")
        jobs.wait_until_drained()
        all_once(jobs, *range(6))
        assert jobs.rows(TOGETHER) == [([0],), ([1, 2, 3, 4, 5],)]


def test_after_a_while_nobody_joins(jobs: Queue, database: str, tmp_path: Path) -> None:
    jobs.env.delay_many([jobs.sample(n).delayable().write_slowly(0.2) for n in range(12)])
    with supervised(database, tmp_path, "root:1:batch=10"):
        jobs.wait_until_drained()
        most = max(len(numbers) for (numbers,) in jobs.rows(TOGETHER))
        # After the first ends: the second joins at once, the sixth after 0.8 s at the earliest, none after 1 s.
        assert 2 <= most <= 6


def test_kills_in_the_middle_of_batches_lose_and_repeat_nothing(
    jobs: Queue, database: str, tmp_path: Path
) -> None:
    jobs.env.delay_many([jobs.sample(n).delayable().write_slowly(0.01) for n in range(400)])
    with supervised(database, tmp_path, "root:3:batch=15", ["--set", "poison_after=0"]) as running:
        killed = 0

        def keep_killing() -> bool:
            nonlocal killed
            done = jobs.states().get("done", 0)
            if done > 30 * killed and killed < 12:
                (running.children("dispatcher") if killed == 6 else running.children("worker"))[0].kill()
                killed += 1
            return done == 400

        wait_until(keep_killing, 3 * PATIENCE, lambda: f"400 done, but {jobs.states()}")
        assert killed >= 10
        all_once(jobs, *range(400))


def test_a_rate_above_counts_each_start(jobs: Queue, database: str, tmp_path: Path) -> None:
    jobs.env.delay_many([jobs.sample(n).delayable(channel="root.a").write() for n in range(4)])
    with supervised(database, tmp_path, "root:2:rate=50/s,a:2:batch=10"):
        jobs.wait_until_drained()
        assert jobs.rows(COMMITS) == [(1,)] * 4


def hold(jobs: Queue) -> None:
    jobs.rows("select pg_advisory_lock(4711, 1)")


def let_go(jobs: Queue) -> None:
    jobs.rows("select pg_advisory_unlock(4711, 1)")


def in_batch(jobs: Queue, running: Supervised, job: int) -> None:
    """Wait for the log line that this job has started; its row may not show it yet."""
    running_now = f"job started.* job={job} "
    wait_until(lambda: re.search(running_now, running.log), PATIENCE, lambda: running.log)


def three_jobs(jobs: Queue) -> list[int]:
    """Enqueue three jobs for one batch, of which the second waits until the test lets go; return their ids."""
    delayed = [jobs.sample(n).delayable(channel="root.a") for n in range(3)]
    stored = jobs.env.delay_many(
        [sample.write_and_wait(1) if n == 1 else sample.write() for n, sample in enumerate(delayed)]
    )
    return [jobs.job(job.uuid)["id"] for job in stored]


def test_a_pause_ends_a_batch_with_the_job_that_runs(jobs: Queue, database: str, tmp_path: Path) -> None:
    hold(jobs)
    _, second, third = three_jobs(jobs)
    with supervised(database, tmp_path, "root:1,a:1:batch=3") as running:
        in_batch(jobs, running, second)
        result = CliRunner().invoke(main, ["channel", "root.a", "--pause", "--database", database])
        assert result.exit_code == 0, result.output
        wait_until(lambda: "limits changed live" in running.log, PATIENCE, lambda: running.log)
        let_go(jobs)
        wait_until(lambda: jobs.states() == {"done": 2, "pending": 1}, PATIENCE, lambda: running.log)
        assert f"job={third} " not in running.log
        assert jobs.rows(COMMITS) == [(2,)]


def test_who_cancels_a_job_of_a_batch_waits_and_comes_too_late(
    jobs: Queue, database: str, tmp_path: Path
) -> None:
    hold(jobs)
    _, second, _ = three_jobs(jobs)
    uuid = jobs.value("select uuid from queuemaster.queue_job where id = %s", (second,))
    operator, watcher = Session(database), Session(database)
    with supervised(database, tmp_path, "root:1,a:1:batch=3") as running:
        in_batch(jobs, running, second)
        with in_background(lambda: operator.value("select queuemaster.cancel_job(%s)", uuid)) as answer:
            wait_until_blocked(watcher, operator.pid)
            let_go(jobs)
        assert answer == ["done"]
        jobs.wait_until_drained()
        all_once(jobs, 0, 1, 2)
