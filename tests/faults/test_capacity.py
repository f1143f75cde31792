"""Capacity and order while processes are killed, checked against a log of every state transition."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import psutil
import pytest

from support.starts import last_start, starts_after, too_early
from support.supervised import PATIENCE, Queue, Supervised, queue, supervised
from support.transitions import LOG, most_at_once, transitions
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(400)

CHANNELS = "root:5,root.mail:3,root.mail.bulk:2,root.export:1:sequential"
CAPACITY = {"root": 5, "root.mail": 3, "root.mail.bulk": 2, "root.export": 1}


def enqueue(jobs: Queue, count: int) -> None:
    """Enqueue jobs of all kinds in all channels, with random priorities. None fails in the sequential channel."""
    dice = random.Random(count)
    delayables = []
    for number in range(count):
        channel = dice.choice(list(CAPACITY))
        record = jobs.sample(number).delayable(channel=channel, priority=dice.randint(1, 20), max_retries=0)
        kind = dice.random()
        if kind < 0.85:
            delayables.append(record.write_slowly(dice.choice((0, 0, 0.01))))
        elif kind < 0.95:
            delayables.append(record.write_when_tried_again())
        elif channel != "root.export":
            delayables.append(record.crash())
        else:
            delayables.append(record.die("SIGKILL"))
    jobs.env.delay_many(delayables)


def kill_something(running: Supervised, dice: random.Random) -> str:
    """Kill a worker, or more rarely the dispatcher or the template. Returns the role."""
    role = dice.choices(["worker", "dispatcher", "template"], [8, 1, 1])[0]
    victims = running.children(role)
    if not victims:
        return ""
    try:
        dice.choice(victims).kill()
    except psutil.NoSuchProcess:
        return ""
    return role


def test_never_above_capacity_under_kills(database: str, tmp_path: Path) -> None:
    count = 2000
    dice = random.Random(1)
    killed: Counter[str] = Counter()
    with queue(database) as jobs:
        jobs.rows(LOG)
        enqueue(jobs, count)

        def keep_killing() -> bool:
            ended = sum(jobs.states().get(state, 0) for state in ("done", "failed"))
            # spread the kills over the whole run, with the dispatcher at least once
            if ended < count and killed.total() < ended / count * 60:
                killed[kill_something(running, dice)] += 1
            if ended > count / 2 and not killed["dispatcher"]:
                running.one("dispatcher").kill()
                killed["dispatcher"] += 1
            return ended == count

        with supervised(database, tmp_path, CHANNELS) as running:
            wait_until(keep_killing, 3 * PATIENCE, "all jobs to end")
        assert killed["worker"] >= 20
        assert killed["dispatcher"] >= 1

        most = most_at_once(jobs)
        assert all(most[name] <= limit for name, limit in CAPACITY.items()), dict(most)
        assert most["root"] == CAPACITY["root"], "the capacity was never used: the test proves nothing"
        effects = jobs.effects()
        assert len(effects) == len(set(effects)), "a job left its effect twice"
        assert len(effects) == jobs.states()["done"]
        failed = jobs.rows("select distinct method_name from queuemaster.queue_job where state = 'failed'")
        assert failed == [("crash",)]


def test_highest_priority_first(database: str, tmp_path: Path) -> None:
    """No job of a channel starts while better ones wait, except for better ones that are being claimed meanwhile."""
    with queue(database) as jobs:
        jobs.rows(LOG)
        enqueue(jobs, 600)
        with supervised(database, tmp_path, CHANNELS):
            jobs.wait_until_drained(2 * PATIENCE)
        keys = {
            row[0]: row[1:]
            for row in jobs.rows("select id, priority, date_created, id from queuemaster.queue_job")
        }
        waiting: dict[str, set[int]] = {}
        for job, channel in jobs.rows("select id, channel from queuemaster.queue_job"):
            waiting.setdefault(channel, set()).add(job)
        for step in transitions(jobs):
            if step.new != "started" or step.job not in waiting[step.channel]:
                continue  # only first starts count: a job that is tried again may start late
            waiting[step.channel].discard(step.job)
            better = sum(keys[other] < keys[step.job] for other in waiting[step.channel])
            assert better < CAPACITY[step.channel], (step, better)


def test_a_sequential_channel_is_strictly_in_order(database: str, tmp_path: Path) -> None:
    with queue(database) as jobs:
        jobs.rows(LOG)
        jobs.env.delay_many(
            [
                jobs.sample(number).delayable(channel="root.export", priority=number * 7 % 50).die("SIGKILL")
                if number % 10 == 3
                else jobs.sample(number).delayable(channel="root.export", priority=number * 7 % 50).write()
                for number in range(50)
            ]
        )
        with supervised(database, tmp_path, CHANNELS):
            jobs.wait_until_drained()
        finished = [step.job for step in transitions(jobs) if step.new == "done"]
        expected = [
            row[0]
            for row in jobs.rows("select id from queuemaster.queue_job order by priority, date_created, id")
        ]
        assert finished == expected


def test_a_failed_job_blocks_its_sequential_channel_until_somebody_decides(
    database: str, tmp_path: Path
) -> None:
    with queue(database) as jobs, supervised(database, tmp_path, CHANNELS) as running:
        failing = jobs.sample(1).with_delay(channel="root.export", priority=1).fail()
        after = jobs.sample(2).with_delay(channel="root.export", priority=2).write()
        elsewhere = jobs.sample(3).with_delay(channel="root.mail").write()
        jobs.wait_for(failing.uuid, "failed")
        jobs.wait_for(elsewhere.uuid, "done")
        assert jobs.job(after.uuid)["state"] == "pending", running.log
        jobs.rows(
            "update queuemaster.queue_job set state = 'cancelled', date_cancelled = now() where uuid = %s",
            (failing.uuid,),
        )
        jobs.wait_for(after.uuid, "done")


def test_a_delayed_job_blocks_those_behind_it_in_a_sequential_channel(database: str, tmp_path: Path) -> None:
    with queue(database) as jobs, supervised(database, tmp_path, CHANNELS):
        first = jobs.sample(1).with_delay(channel="root.export", priority=1, eta=2).write()
        second = jobs.sample(2).with_delay(channel="root.export", priority=2).write()
        ahead = jobs.sample(3).with_delay(channel="root.export", priority=0).write()
        jobs.wait_for(ahead.uuid, "done")
        for job in (second, first):
            jobs.wait_for(job.uuid, "done")
        order = jobs.rows(
            "select (records::jsonb #>> '{ids,0}') from queuemaster.queue_job order by date_started"
        )
        assert [row[0] for row in order] == ["3", "1", "2"]


def test_a_throttle_keeps_its_distance_across_a_restart(database: str, tmp_path: Path) -> None:
    channels = "root:4,root.slow:4:throttle=3"
    with queue(database) as jobs:
        for number in range(3):
            jobs.sample(number).with_delay(channel="root.slow").write()
        with supervised(database, tmp_path, channels):
            wait_until(lambda: jobs.states().get("done", 0) >= 1, PATIENCE)
        last = last_start(jobs)
        with supervised(database, tmp_path, channels):
            jobs.wait_until_drained()
        later = starts_after(jobs, last)
        assert later, "nothing was left for the second run: the test proves nothing"
        assert too_early(later, last, 3.0) == []
