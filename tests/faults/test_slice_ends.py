"""Slices: workers go on with the next jobs of their channel without a new grant, and what ends a slice."""

from __future__ import annotations

import functools
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from queuemaster.cli import main
from support.supervised import PATIENCE, Queue, queue
from support.supervised import supervised as any_supervised
from support.transitions import LOG, most_at_once, transitions
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)

# Slices that outlast these tests, so that time does not end them; each grant is for at least 64 jobs.
ENDLESS = ["--set", "slice=600", "--set", "poll_interval=3600"]
JOBS = 60  # fewer than one slice may run
SHORT = 0.05  # seconds that a job takes


@pytest.fixture
def jobs(database: str) -> Iterator[Queue]:
    with queue(database) as opened:
        opened.rows("alter table effect add column transaction bigint default txid_current()")
        opened.rows(LOG)
        opened.rows("alter table transition add column transaction bigint default txid_current()")
        yield opened


supervised = functools.partial(any_supervised, options=ENDLESS)


def claimed_with_an_end(jobs: Queue) -> int:
    """How many jobs were claimed in the transaction in which another job ended."""
    count: int = jobs.value(
        "select count(*) from transition one join transition other using (transaction)"
        " where one.new = 'started' and other.new = 'done' and one.job <> other.job"
    )
    return count


def starts(jobs: Queue, channel: str = "%") -> list[int]:
    return [
        row[0]
        for row in jobs.rows(
            "select job from transition where new = 'started' and channel like %s order by number", (channel,)
        )
    ]


def wait_for_starts(jobs: Queue, count: int) -> None:
    wait_until(lambda: len(starts(jobs)) >= count, PATIENCE, lambda: f"{count} starts, but: {starts(jobs)}")


def wait_for_effects(jobs: Queue, count: int) -> None:
    wait_until(lambda: len(jobs.effects()) >= count, PATIENCE, lambda: str(jobs.states()))


def enqueue(jobs: Queue, count: int = JOBS, **properties: object) -> None:
    """Enqueue short jobs in one transaction, so that none starts before all are stored."""
    jobs.rows("begin")
    for number in range(count):
        jobs.sample(number).with_delay(**properties).write_slowly(SHORT)
    jobs.rows("commit")


def test_each_job_has_a_transaction_of_its_own_and_takes_the_next_along(
    jobs: Queue, database: str, tmp_path: Path
) -> None:
    enqueue(jobs)
    with supervised(database, tmp_path, "root:2"):
        jobs.wait_until_drained()
    assert jobs.states() == {"done": JOBS}
    assert jobs.effects() == list(range(JOBS))
    assert jobs.value("select count(distinct transaction) from effect") == JOBS
    assert claimed_with_an_end(jobs) >= JOBS / 2
    assert most_at_once(jobs)["root"] <= 2


def test_without_slices_each_job_has_a_grant(jobs: Queue, database: str, tmp_path: Path) -> None:
    enqueue(jobs, 20)
    with any_supervised(database, tmp_path, "root:2", ["--set", "slice=0"]):
        jobs.wait_until_drained()
    assert claimed_with_an_end(jobs) == 0


@pytest.mark.parametrize("channel", ["root.b", "root.a"], ids=["elsewhere", "its own channel"])
def test_a_better_job_does_not_wait_for_the_end_of_a_slice(
    jobs: Queue, database: str, tmp_path: Path, channel: str
) -> None:
    enqueue(jobs, channel="root.a")
    with supervised(database, tmp_path, "root:1,a:1,b:1"):
        wait_for_starts(jobs, 5)
        urgent = jobs.sample(99).with_delay(channel=channel, priority=1).write()
        before = len(starts(jobs))  # starts before the dispatcher could know of the urgent job
        row = jobs.wait_for(urgent.uuid, "done")
        place = starts(jobs).index(row["id"])
        jobs.wait_until_drained()
    assert place < before + JOBS / 2, "the urgent job did not interrupt the slice"
    assert claimed_with_an_end(jobs) > 0
    assert most_at_once(jobs)["root"] == 1


def test_channels_take_turns_by_their_keys(jobs: Queue, database: str, tmp_path: Path) -> None:
    """Jobs of the channels are stored alternately, so no slice goes beyond the next job of the other channel.

    The order is not exact: while the dispatcher reads the next jobs of one channel, the other may go first.
    """
    jobs.rows("begin")
    for number in range(20):
        for channel in ("root.a", "root.b", "root.b"):
            jobs.sample(number).with_delay(channel=channel).write()
    jobs.rows("commit")
    with supervised(database, tmp_path, "root:1,a:1,b:1"):
        jobs.wait_until_drained()
    order = starts(jobs)
    # the distance would be up to 40 if the channels did not take turns
    assert max(abs(place - rank) for rank, place in enumerate(map(sorted(order).index, order))) <= 20, order


def test_a_pause_ends_a_slice(jobs: Queue, database: str, tmp_path: Path) -> None:
    enqueue(jobs, channel="root.a")
    with supervised(database, tmp_path, "root:2,a:2") as running:
        wait_for_starts(jobs, 5)
        result = CliRunner().invoke(main, ["channel", "root.a", "--pause", "--database", database])
        assert result.exit_code == 0, result.output
        wait_until(lambda: "limits changed live" in running.log, PATIENCE, lambda: running.log)
        wait_until(lambda: jobs.states().get("started", 0) == 0, PATIENCE, lambda: str(jobs.states()))
        assert jobs.states()["pending"] > 0
        result = CliRunner().invoke(main, ["channel", "root.a", "--resume", "--database", database])
        assert result.exit_code == 0, result.output
        jobs.wait_until_drained()
    assert jobs.effects() == list(range(JOBS))


def test_a_drain_leaves_what_has_not_begun(jobs: Queue, database: str, tmp_path: Path) -> None:
    enqueue(jobs)
    with supervised(database, tmp_path, "root:1") as running:
        wait_for_starts(jobs, 5)
        assert running.stop() == 0
    states = jobs.states()
    assert set(states) == {"done", "pending"}
    assert jobs.value("select max(attempt) from queuemaster.queue_job where state = 'pending'") == 0


def test_workers_that_die_in_a_slice(jobs: Queue, database: str, tmp_path: Path) -> None:
    """Jobs that ended stay done; only the job that was running runs again and counts the try."""
    enqueue(jobs)
    with supervised(database, tmp_path, "root:1") as running:
        for count in (5, 15, 25):
            wait_for_effects(jobs, count)
            running.one("worker", "[job").kill()
        jobs.wait_until_drained()
    assert jobs.states() == {"done": JOBS}
    assert jobs.effects() == list(range(JOBS))
    tried_again = jobs.rows("select retry, exc_info from queuemaster.queue_job where attempt > 1")
    assert 1 <= len(tried_again) <= 3
    assert all("interrupted" in info or "died: SIGKILL" in info for _, info in tried_again)
    assert claimed_with_an_end(jobs) > 10


def test_a_dispatcher_that_dies_in_a_slice(jobs: Queue, database: str, tmp_path: Path) -> None:
    enqueue(jobs)
    with supervised(database, tmp_path, "root:2") as running:
        wait_for_starts(jobs, 5)
        running.one("dispatcher").send_signal(signal.SIGKILL)
        jobs.wait_until_drained()
    assert jobs.effects() == list(range(JOBS))
    assert jobs.value("select max(attempt) from queuemaster.queue_job") == 1
    assert most_at_once(jobs)["root"] <= 2


def test_a_worker_of_a_slice_is_replaced_in_time(jobs: Queue, database: str, tmp_path: Path) -> None:
    enqueue(jobs)
    with any_supervised(database, tmp_path, "root:1", [*ENDLESS, "--set", "max_jobs=10"]):
        jobs.wait_until_drained()
    most = "select max(count) from (select count(*) from effect group by pid) each"
    assert jobs.value(most) <= 11
    assert claimed_with_an_end(jobs) > 10


def test_a_job_that_fails_ends_its_slice_and_no_other_job_suffers(
    jobs: Queue, database: str, tmp_path: Path
) -> None:
    jobs.rows("begin")
    for number in range(20):
        sample = jobs.sample(number).with_delay()
        sample.crash() if number % 5 == 2 else sample.write()
    jobs.rows("commit")
    with supervised(database, tmp_path, "root:1"):
        jobs.wait_until_drained()
    assert jobs.states() == {"done": 16, "failed": 4}
    assert jobs.effects() == [number for number in range(20) if number % 5 != 2]
    assert [step.new for step in transitions(jobs)].count("started") == 20


def test_a_job_that_nobody_can_read_fails_alone(jobs: Queue, database: str, tmp_path: Path) -> None:
    """The arguments hold a number with more digits than Python reads; no other job fails because of it."""
    jobs.rows("begin")
    stored = [jobs.sample(number).with_delay(max_retries=1).write() for number in range(12)]
    jobs.rows(
        "update queuemaster.queue_job set args = ('[1' || repeat('0', 5000) || ']')::json where uuid = %s",
        (stored[5].uuid,),
    )
    jobs.rows("commit")
    with supervised(database, tmp_path, "root:2"):
        jobs.wait_until_drained()
    assert [
        jobs.value("select state from queuemaster.queue_job where uuid = %s", (job.uuid,)) for job in stored
    ] == ["failed" if number == 5 else "done" for number in range(12)]
    assert jobs.effects() == [number for number in range(12) if number != 5]


TIMED = """
import signal
import sampleapp

write = sampleapp.Sample.write

def ring(signum, frame):
    raise TimeoutError("too late")

def write_with_a_timer(self):
    if list(self.ids) == [1]:
        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
    return write(self)

sampleapp.Sample.write = write_with_a_timer
"""


def test_an_exception_that_comes_after_the_commit(jobs: Queue, database: str, tmp_path: Path) -> None:
    """A job's leftover timer rings when the job is done and the next is claimed; the claimed job must still run."""
    (tmp_path / "timed.py").write_text(TIMED)
    jobs.rows(
        "create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.6); return null; end $$"
    )
    jobs.rows(
        "create constraint trigger slow after insert on effect deferrable initially deferred"
        " for each row when (new.number = 1) execute function slow()"
    )
    jobs.rows("begin")
    for number in (1, 2, 3):
        jobs.sample(number).with_delay().write()
    jobs.rows("commit")
    with any_supervised(database, tmp_path, "root:1", ENDLESS, app="timed"):
        jobs.wait_until_drained()
    assert jobs.states() == {"done": 3}
    assert jobs.effects() == [1, 2, 3]
    assert claimed_with_an_end(jobs) > 0
