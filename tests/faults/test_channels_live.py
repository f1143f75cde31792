"""Limits changed under a running supervisor apply at once, until they are cleared, and across restarts."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from psycopg2.extensions import connection as Connection

from queuemaster.cli import main
from queuemaster.config.compiled import ServerPlan
from support.postgres import connected, new_database
from support.starts import last_start, starts_after, too_early
from support.supervised import PATIENCE, Queue, Supervised, queue
from support.supervised import supervised as any_supervised
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)

# polling is off in effect, so a change can only have arrived by a notification
supervised = functools.partial(any_supervised, options=["--set", "poll_interval=3600"])


def change(dsn: str, *arguments: str) -> None:
    """Run ``queuemaster channel`` without the supervisor's configuration."""
    result = CliRunner().invoke(main, ["channel", *arguments, "--database", dsn])
    assert result.exit_code == 0, result.output


def wait_until_applied(running: Supervised, words: str, times: int = 1) -> None:
    wait_until(
        lambda: sum("limits changed live" in line and words in line for line in running.log.splitlines()) >= times,
        PATIENCE, lambda: f"{words} in the log:\n{running.log}",
    )  # fmt: skip


@contextlib.contextmanager
def lock_held(connection: Connection, key: int) -> Iterator[None]:
    """Hold the advisory lock that jobs ``write_and_wait(key)`` wait for, so that they do not end."""
    with connection.cursor() as cursor:
        cursor.execute("select pg_advisory_lock(4711, %s)", (key,))
        yield
        cursor.execute("select pg_advisory_unlock(4711, %s)", (key,))


def hold_job(jobs: Queue, number: int, channel: str = "root") -> str:
    """Enqueue a job that runs until lock ``number`` is released."""
    uuid: str = jobs.sample(number).with_delay(channel=channel).write_and_wait(number).uuid
    return uuid


def started(jobs: Queue) -> int:
    return jobs.states().get("started", 0)


def wait_for_started(jobs: Queue, count: int) -> None:
    wait_until(lambda: started(jobs) == count, PATIENCE, lambda: f"{count} started, but: {jobs.states()}")


def marker(jobs: Queue, channel: str) -> None:
    """Run a job in another channel: when it is done, the dispatcher has looked at all channels again."""
    jobs.wait_for(jobs.sample(99).with_delay(channel=channel).write().uuid, "done")


def test_a_pause_stops_starts_at_once_and_ends_nothing(database: str, tmp_path: Path) -> None:
    with (
        queue(database) as jobs, connected(database) as locks,
        supervised(database, tmp_path, "root:4,mail:2,free:1") as running,
    ):  # fmt: skip
        with lock_held(locks, 1):
            first = hold_job(jobs, 1, "root.mail")
            jobs.wait_for(first, "started")
            change(database, "mail", "--pause")
            wait_until_applied(running, "paused=True")
            second = jobs.sample(2).with_delay(channel="root.mail").write()
            marker(jobs, "root.free")
            assert jobs.job(first)["state"] == "started"
        jobs.wait_for(first, "done")
        marker(jobs, "root.free")
        assert jobs.job(second.uuid)["state"] == "pending"
        change(database, "mail", "--resume")
        jobs.wait_for(second.uuid, "done")


def test_limits_survive_a_restart_and_a_crash_of_the_dispatcher_until_cleared(
    database: str, tmp_path: Path
) -> None:
    channels = "root:4,mail:2,free:1"
    change(database, "mail", "--pause")  # no supervisor is running yet
    with queue(database) as jobs:
        job = jobs.sample(1).with_delay(channel="root.mail").write()
        for _ in range(2):
            with supervised(database, tmp_path, channels) as running:
                marker(jobs, "root.free")
                running.one("dispatcher").kill()
                marker(jobs, "root.free")
                assert jobs.job(job.uuid)["state"] == "pending"
        with supervised(database, tmp_path, channels):
            change(database, "mail", "--clear")
            jobs.wait_for(job.uuid, "done")


def test_a_channel_that_shrinks_under_load_starts_nothing_until_enough_are_over(
    database: str, tmp_path: Path
) -> None:
    with (
        queue(database) as jobs, connected(database) as locks,
        supervised(database, tmp_path, "root:6,mail:4,free:1") as running,
    ):  # fmt: skip
        with lock_held(locks, 2):
            with lock_held(locks, 1):
                for number in (1, 1, 2, 2, 2, 2):
                    hold_job(jobs, number, "root.mail")
                wait_for_started(jobs, 4)
                change(database, "mail", "--capacity", "2")
                wait_until_applied(running, "capacity=2")
                marker(jobs, "root.free")
                assert started(jobs) == 4, "running jobs go on"
            wait_for_started(jobs, 2)
            marker(jobs, "root.free")
            assert started(jobs) == 2, "both slots that are left are in use"
        jobs.wait_until_drained()


def test_the_log_of_transitions_never_exceeds_the_capacity_in_force(database: str, tmp_path: Path) -> None:
    with queue(database) as jobs:
        jobs.rows(
            """
            create table transition (number bigserial primary key, running bigint);
            create function log_transition() returns trigger language plpgsql as $$
            begin
                insert into transition (running) select case when new.state = 'started' then 1 else -1 end;
                return null;
            end $$;
            create trigger log_transition after update of state on queuemaster.queue_job for each row
                when ((old.state = 'started') <> (new.state = 'started')) execute function log_transition();
            """
        )
        jobs.env.delay_many(
            [jobs.sample(n).delayable(channel="root.mail").write_slowly(0.01) for n in range(600)]
        )
        with supervised(database, tmp_path, "root:4,mail:4") as running:
            wait_until(lambda: jobs.states().get("done", 0) > 100, PATIENCE)
            change(database, "mail", "--capacity", "1")
            wait_until_applied(running, "capacity=1")
            wait_until(lambda: started(jobs) <= 1, PATIENCE)
            since = jobs.value("select max(number) from transition")
            before = jobs.value("select sum(running) from transition where number <= %s", (since,))
            wait_until(lambda: jobs.states()["done"] > 300, PATIENCE, "the other jobs to run, one at a time")
            end = jobs.value("select max(number) from transition")
            change(database, "mail", "--clear")
            jobs.wait_until_drained()
        most = "select max(level) from (select number, sum(running) over (order by number) level from transition) l"
        assert before <= 1
        assert jobs.value(f"{most} where number > %s and number <= %s", (since, end)) == 1
        assert jobs.value(most) == 4
        assert jobs.value(f"{most} where number > %s", (end,)) > 1, (
            "once cleared, the channel has its configured capacity again"
        )


def test_a_capacity_raised_beyond_the_pool_has_workers_forked(database: str, tmp_path: Path) -> None:
    with (
        queue(database) as jobs, connected(database) as locks,
        supervised(database, tmp_path, "root:2,mail:1") as running,
    ):  # fmt: skip
        with lock_held(locks, 1):
            for _ in range(7):
                hold_job(jobs, 1, "root.mail")
            wait_for_started(jobs, 1)
            change(database, "root", "--capacity", "6")
            wait_until_applied(running, "channel=root ")
            change(database, "mail", "--capacity", "5")
            wait_for_started(jobs, 5)
            assert len(running.children("worker", "root.mail")) == 5
        jobs.wait_until_drained()


def test_a_rate_changed_live_spaces_the_starts(database: str, tmp_path: Path) -> None:
    with queue(database) as jobs, supervised(database, tmp_path, "root:4,mail:4,free:1") as running:
        change(database, "mail", "--rate", "5/s")
        wait_until_applied(running, "rate=5/s")
        began = jobs.value("select queuemaster.utc_now()")
        jobs.env.delay_many([jobs.sample(n).delayable(channel="root.mail").write() for n in range(10)])
        jobs.wait_until_drained()
        # the first job may start at once
        assert too_early(starts_after(jobs, began), began - timedelta(seconds=0.2), 0.2) == []
        change(database, "mail", "--rate", "1/h")
        wait_until_applied(running, "rate=1/h")
        job = jobs.sample(1).with_delay(channel="root.mail").write()
        marker(jobs, "root.free")
        assert jobs.job(job.uuid)["state"] == "pending"
        change(database, "mail", "--clear")
        jobs.wait_for(job.uuid, "done")


def test_of_two_databases_the_most_careful_counts_for_both(
    server: ServerPlan, template: str, database: str, tmp_path: Path
) -> None:
    with (
        new_database(server, template) as second_database, queue(database) as first, queue(second_database) as second,
        any_supervised(
            database, tmp_path, "root:4,mail:2,free:1", ["--database", second_database, "--set", "poll_interval=3600"]
        ) as running,
    ):  # fmt: skip
        change(database, "mail", "--resume", "--capacity", "3")
        change(second_database, "mail", "--pause", "--capacity", "2")
        wait_until_applied(running, "capacity=2 rate=off paused=True")
        waiting = [jobs.sample(1).with_delay(channel="root.mail").write() for jobs in (first, second)]
        for jobs in (first, second):
            marker(jobs, "root.free")
        assert [jobs.job(job.uuid)["state"] for jobs, job in zip((first, second), waiting, strict=True)] == [
            "pending"
        ] * 2
        change(second_database, "mail", "--clear")
        for jobs, job in zip((first, second), waiting, strict=True):
            jobs.wait_for(job.uuid, "done")


def test_a_configured_pause_is_lifted_live_and_workers_come(database: str, tmp_path: Path) -> None:
    with queue(database) as jobs, supervised(database, tmp_path, "root:4,night:2:paused,free:1") as running:
        job = jobs.sample(1).with_delay(channel="root.night").write()
        marker(jobs, "root.free")
        assert not running.children("worker", "root.night")
        change(database, "night", "--resume")
        jobs.wait_for(job.uuid, "done")


def test_a_configured_rate_keeps_its_distance_across_a_restart(database: str, tmp_path: Path) -> None:
    channels = "root:4,slow:4:rate=30/m"
    with queue(database) as jobs:
        jobs.env.delay_many([jobs.sample(n).delayable(channel="root.slow").write() for n in range(4)])
        with supervised(database, tmp_path, channels):
            wait_until(lambda: jobs.states().get("done", 0) >= 2, PATIENCE)
        last = last_start(jobs)
        with supervised(database, tmp_path, channels):
            jobs.wait_until_drained()
        later = starts_after(jobs, last)
        assert later, "no job was left for the second run: the test proves nothing"
        assert too_early(later, last, 2.0) == []
