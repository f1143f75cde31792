"""Every process may die at random while jobs are enqueued; in the end every job has its effect exactly once.

``make test`` runs it for a few seconds, ``make chaos`` for CHAOS_SECONDS; CHAOS_SEED repeats a run's random choices.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest

from queuejobs import chain, group
from queuejobs.store import schema
from queuemaster import embedded
from queuemaster.config.compiled import ServerPlan
from support.postgres import connected
from support.processes import describe, end_of
from support.supervised import LIVE, PATIENCE, Queue, Supervised, queue, supervised
from support.transitions import LOG, most_at_once
from support.waiting import wait_until

SECONDS = float(os.environ.get("CHAOS_SECONDS", "12"))
SEED = os.environ.get("CHAOS_SEED") or str(random.randrange(10**6))
CHANNELS = "root:5,root.mail:3,root.mail.bulk:2,root.export:1:sequential"
CAPACITY = {"root": 5, "root.mail": 3, "root.mail.bulk": 2, "root.export": 1}

pytestmark = pytest.mark.timeout(SECONDS * 3 + 400)


class Chaos:
    """A server with a supervisor, and the faults that are injected into them."""

    def __init__(self, directory: Path, dice: random.Random, stack: contextlib.ExitStack) -> None:
        self.dice = dice
        self.directory = directory
        self.stack = stack
        self.plan: ServerPlan = embedded.prepare(directory / "data")
        self.server = embedded.start(self.plan)
        stack.callback(lambda: embedded.stop(self.server.pid, PATIENCE))
        embedded.wait_ready(self.plan, self.server, PATIENCE)
        embedded.ensure_database(self.plan, "chaos")
        self.dsn = embedded.dsn(self.plan, "chaos")
        with contextlib.closing(psycopg2.connect(self.dsn)) as connection:
            schema.upgrade(connection)
        self.running: Supervised
        self.number = 0
        self.broken: Counter[str] = Counter()
        self.last = ""

    def start(self) -> None:
        options = ["--set", "graceful_timeout=2", "--set", "kill_grace=0.5", "--set", "poison_after=0"]
        # While the server recovers, the command refuses to start; a service manager would try again.
        deadline = time.monotonic() + PATIENCE
        while True:
            self.running = self.stack.enter_context(supervised(self.dsn, self.directory, CHANNELS, options))
            wait_until(self.decided, PATIENCE, "the command to start a master or to refuse")
            if self.running.process.poll() is None or time.monotonic() > deadline:
                return

    def decided(self) -> bool:
        if self.running.process.poll() is not None:
            return True
        with contextlib.suppress(psutil.NoSuchProcess):
            return " ".join(self.running.process.cmdline()).startswith("queuemaster: master")
        return False

    @contextlib.contextmanager
    def reachable(self) -> Iterator[Queue]:
        with queue(self.dsn) as opened:
            yield opened

    def enqueue(self, jobs: Queue) -> None:
        """Enqueue a few jobs and sometimes a graph; each job that gets done writes its own number once."""
        delayables: list[Any] = []
        for _ in range(self.dice.randint(1, 12)):
            channel = self.dice.choice(list(CAPACITY))
            delayables.append(self.job(jobs, channel))
        jobs.env.delay_many(delayables)
        if self.dice.random() < 0.3:
            top, left, right, last = (self.job(jobs, "root.mail.bulk", calm=True) for _ in range(4))
            chain(top, group(left, right), last).delay()

    def job(self, jobs: Queue, channel: str, calm: bool = False) -> Any:
        self.number += 1
        record = jobs.sample(self.number).delayable(
            channel=channel, priority=self.dice.randint(1, 9), max_retries=0
        )
        kind = self.dice.random()
        if calm or kind < 0.7:
            return record.write_slowly(self.dice.choice((0, 0, 0.02, 0.1)))
        if kind < 0.85:
            return record.write_when_tried_again()
        if kind < 0.95 or channel == "root.export":
            return record.die("SIGKILL")
        return record.crash()

    def situation(self) -> str:
        """The processes, the last fault and the end of the log, for the message of a failed test."""
        processes = []
        with contextlib.suppress(psutil.NoSuchProcess):
            processes = [describe(process) for process in self.running.everything()]
        return "\n".join([str(self.broken), f"last: {self.last}", *processes, self.running.log[-5000:]])

    # the faults

    def break_something(self) -> None:
        hands: list[tuple[Callable[[], None], int]] = [
            (self.kill_worker, 12),
            (self.kill_dispatcher, 2),
            (self.kill_template, 2),
            (self.end_a_session, 4),
            (self.freeze, 3),
            (self.reload, 1),
            (self.kill_master, 1),
            (self.kill_server, 1),
        ]
        hand = self.dice.choices([candidate for candidate, _ in hands], [weight for _, weight in hands])[0]
        self.last = hand.__name__
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):  # it has just ended by itself
            hand()
            self.broken[hand.__name__] += 1

    def victim(self, *roles: str) -> psutil.Process:
        candidates = [process for role in roles for process in self.running.children(role)]
        if not candidates:
            raise psutil.NoSuchProcess(0)
        return self.dice.choice(candidates)

    def kill_worker(self) -> None:
        self.victim("worker").kill()

    def kill_dispatcher(self) -> None:
        self.victim("dispatcher").kill()

    def kill_template(self) -> None:
        self.victim("template").kill()

    def freeze(self) -> None:
        process = self.victim("worker", "dispatcher")
        process.suspend()
        time.sleep(self.dice.uniform(0, 0.5))  # not a wait: the fault is that it stands still for this long
        # the pid is still its own: only its master reaps it, and a stopped process does not end
        os.kill(process.pid, signal.SIGCONT)

    def reload(self) -> None:
        self.running.process.send_signal(signal.SIGHUP)

    def end_a_session(self) -> None:
        with connected(self.dsn) as connection, connection.cursor() as cursor:
            cursor.execute(
                "select pg_terminate_backend(pid) from (select pid from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid() order by random() limit 1) one"
            )

    def kill_master(self) -> None:
        try:
            children = self.running.process.children(recursive=True)
            self.running.process.kill()
            self.running.process.wait()
            if self.dice.random() < 0.5:
                assert end_of(children, PATIENCE) == []
        finally:
            self.start()

    def kill_server(self) -> None:
        self.server.kill()
        self.server.wait()
        wait_until(self.server_is_back, PATIENCE, "the server to come back")

    def server_is_back(self) -> bool:
        # PostgreSQL refuses to start while a backend of the killed server lives
        self.server = embedded.start(embedded.prepare(self.directory / "data"))
        try:
            embedded.wait_ready(self.plan, self.server, PATIENCE)
        except embedded.EmbeddedError:
            return False
        return True


def test_chaos() -> None:
    directory = Path(os.environ.get("TMPDIR", "/tmp")) / f"queuemaster-chaos-{os.getpid()}"
    directory.mkdir(mode=0o755)
    dice = random.Random(SEED)
    print(f"CHAOS_SEED={SEED} CHAOS_SECONDS={SECONDS:g}")  # noqa: T201  (shown when it fails)
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: shutil.rmtree(directory, ignore_errors=True))
        chaos = Chaos(directory, dice, stack)
        with chaos.reachable() as jobs:
            jobs.rows(LOG)
        chaos.start()
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            with chaos.reachable() as jobs:
                chaos.enqueue(jobs)
            chaos.break_something()
        with chaos.reachable() as jobs:
            drain(jobs, chaos)
            judge(jobs, chaos)


def drain(jobs: Queue, chaos: Chaos) -> None:
    """Wait until the queue is empty, however long that takes, as long as jobs end meanwhile."""
    live_jobs = "select count(*) from queuemaster.queue_job where state = any(%s)"
    before = jobs.value(live_jobs, (list(LIVE),))
    while True:
        try:
            jobs.wait_until_drained(2 * PATIENCE)
        except AssertionError as error:
            after = jobs.value(live_jobs, (list(LIVE),))
            if after >= before:
                raise AssertionError(f"{error}\n{chaos.situation()}") from None
            before = after
        else:
            return


def judge(jobs: Queue, chaos: Chaos) -> None:
    rows = jobs.rows(
        "select (records::jsonb #>> '{ids,0}')::integer, method_name, state, max_retries from queuemaster.queue_job"
    )
    assert len(rows) == chaos.number, "a job was lost"
    must = {number: "failed" if method == "crash" else "done" for number, method, _, _ in rows}
    assert {number: state for number, _, state, _ in rows} == must, chaos.situation()
    assert jobs.effects() == sorted(number for number, state in must.items() if state == "done")
    most = most_at_once(jobs)
    assert all(most[name] <= limit for name, limit in CAPACITY.items()), (dict(most), chaos.broken)
    assert sum(chaos.broken.values()) > SECONDS / 4, "too few faults were injected: the test proves nothing"
