"""A channel's ``batch``: several jobs in one transaction, each done once, whoever fails or dies in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from supervised import PATIENCE, Queue, queue, supervised
from waiting import wait_until

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
        # what it has not seen go does not keep the dispatcher from what comes
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
    jobs.env.delay_many([getattr(one, how)() if n == 4 else one.write() for n, one in enumerate(delayed)])
    with supervised(database, tmp_path, "root:1:batch=10") as running:
        jobs.wait_until_drained()
        all_once(jobs, *(n for n in range(10) if n != 4))
        (failed,) = jobs.rows(
            "select records, attempt, retry from queuemaster.queue_job where state = 'failed'"
        )
        assert failed[0]["ids"] == [4]
        assert failed[1:] == (2, 1), "two runs, and only the one that it had alone counts"
        assert running.log.count("job leaves its batch") == 1
        assert jobs.rows(COMMITS) == [(4,), (5,)]


def test_one_that_runs_away_is_stopped_and_the_others_stay_done(
    jobs: Queue, database: str, tmp_path: Path
) -> None:
    delayed = [jobs.sample(n).delayable(timeout=0.5, max_retries=1) for n in range(6)]
    jobs.env.delay_many([one.write_slowly(600) if n == 3 else one.write() for n, one in enumerate(delayed)])
    with supervised(database, tmp_path, "root:1:batch=10"):
        jobs.wait_until_drained()
        all_once(jobs, 0, 1, 2, 4, 5)
        failed = jobs.rows("select exc_message from queuemaster.queue_job where state = 'failed'")
        assert failed == [("Max. retries (1) reached: timeout after 0.5 s",)]


def test_who_kills_the_worker_is_found(jobs: Queue, database: str, tmp_path: Path) -> None:
    delayed = [jobs.sample(n).delayable() for n in range(12)]
    jobs.env.delay_many([one.always_die() if n == 5 else one.write() for n, one in enumerate(delayed)])
    with supervised(database, tmp_path, "root:1:batch=10", OPTIONS) as running:
        jobs.wait_until_drained()
        all_once(jobs, *(n for n in range(12) if n != 5))
        (poison,) = jobs.rows("select deaths, exc_message from queuemaster.queue_job where state = 'failed'")
        assert poison[0] == 2
        assert "died 2 times in a row" in poison[1]
        # in company once, then by itself
        assert running.log.count("how=SIGKILL busy=True") == 3


def test_a_commit_that_fails_is_charged_to_whom_it_fails_for(
    jobs: Queue, database: str, tmp_path: Path
) -> None:
    """A constraint that is looked at only then: nobody knows whose row it was."""
    jobs.rows("create table once (number integer unique deferrable initially deferred)")
    jobs.rows(
        "create function note() returns trigger language plpgsql as $$ begin"
        " insert into once values (new.number / 2 * 2 + (new.number < 4)::integer * new.number % 2);"
        " return new; end $$"
    )
    jobs.rows("create trigger note after insert on effect for each row execute function note()")
    # 0, 1, 2, 3 are notes of their own, 4 and 5 are the same
    jobs.env.delay_many([jobs.sample(n).delayable(max_retries=1).write() for n in range(6)])
    with supervised(database, tmp_path, "root:1:batch=10") as running:
        jobs.wait_until_drained()
        assert "batch broken" in running.log
        all_once(jobs, 0, 1, 2, 3, 4)
        (failed,) = jobs.rows("select records, exc_name from queuemaster.queue_job where state = 'failed'")
        assert failed[0]["ids"] == [5]
        assert "UniqueViolation" in failed[1]


def test_what_may_not_share_a_transaction_runs_alone(jobs: Queue, database: str, tmp_path: Path) -> None:
    parent = jobs.sample(1).delayable().write()
    parent.on_done(jobs.sample(2).delayable().write())
    parent.delay()
    jobs.env.delay_many([jobs.sample(n).delayable().write() for n in (3, 4)])
    tried = jobs.sample(5).with_delay(priority=1, max_retries=3).write_when_tried_again()
    with supervised(database, tmp_path, "root:1:batch=10"):
        jobs.wait_until_drained()
        all_once(jobs, 1, 2, 3, 4, 5)
        assert jobs.job(tried.uuid)["attempt"] >= 2
        together = "select array_agg(number order by number) from effect group by txid having count(*) > 1"
        assert jobs.rows(together) in ([([3, 4],)], [])


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
