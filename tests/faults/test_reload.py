"""HUP applies new channels, limits, databases and code. A wrong file changes nothing, and running jobs go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median_low

import psutil
import pytest

from support.supervised import PATIENCE, Queue, Supervised, environment, queue, supervised
from support.transitions import LOG, most_at_once
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(400)


def write(path: Path, channels: str, **options: str) -> None:
    lines = [f"{name} = {value}" for name, value in options.items()]
    path.write_text("\n".join(["[queue_job]", f"channels = {channels}", *lines]))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "queuemaster.conf"
    write(path, "root:1")
    return path


@pytest.fixture
def running(database: str, jobs: Queue, file: Path, tmp_path: Path) -> Iterator[Supervised]:
    with supervised(database, tmp_path, "", ["-c", str(file)]) as opened:
        opened.one("worker")
        yield opened


def reload(running: Supervised) -> None:
    """Send HUP and wait until the new configuration is in force."""
    before = running.log.count("queuemaster.master: reloaded")
    running.process.send_signal(signal.SIGHUP)
    wait_until(
        lambda: running.log.count("queuemaster.master: reloaded") > before,
        PATIENCE,
        lambda: f"a reload; log:\n{running.log}",
    )


def marker(jobs: Queue) -> None:
    """Run a job in another channel: when it is done, the dispatcher has looked at all channels again."""
    jobs.wait_for(jobs.sample(99).with_delay(channel="root.free").write().uuid, "done")


def test_another_tree_while_a_job_runs(jobs: Queue, running: Supervised, file: Path) -> None:
    jobs.rows(LOG)
    jobs.rows("select pg_advisory_lock(4711, 1)")
    held_jobs = [jobs.sample(n).with_delay().write_and_wait(1) for n in (1, 2, 3)]
    first = jobs.wait_for(held_jobs[0].uuid, "started")
    write(file, "root:2,root.mail:1")
    reload(running)
    jobs.wait_for(held_jobs[1].uuid, "started")
    worker = psutil.Process(first["worker_pid"])
    jobs.rows("select pg_advisory_unlock(4711, 1)")
    assert jobs.wait_for(held_jobs[0].uuid, "done")["attempt"] == 1
    jobs.wait_for(held_jobs[2].uuid, "done")
    jobs.wait_for(jobs.sample(4).with_delay(channel="root.mail").write().uuid, "done")
    worker.wait(timeout=PATIENCE)  # a worker of the old template leaves after its job
    assert most_at_once(jobs)["root"] == 2, "both slots were in use at once"


def test_a_smaller_capacity_starts_nothing_while_more_runs(
    jobs: Queue, running: Supervised, file: Path
) -> None:
    write(file, "root:5,mail:3,free:1")
    reload(running)
    jobs.rows("select pg_advisory_lock(4711, 1)")
    jobs.rows("select pg_advisory_lock(4711, 2)")
    held_jobs = [jobs.sample(n).with_delay(channel="root.mail").write_and_wait(1 + n % 2) for n in range(3)]
    for job in held_jobs:
        jobs.wait_for(job.uuid, "started")
    write(file, "root:5,mail:1,free:1")
    reload(running)
    late = jobs.sample(9).with_delay(channel="root.mail").write()
    marker(jobs)
    assert jobs.states()["started"] == 3, "running jobs go on"
    jobs.rows("select pg_advisory_unlock(4711, 1)")
    for job in (held_jobs[0], held_jobs[2]):
        jobs.wait_for(job.uuid, "done")
    marker(jobs)
    assert jobs.job(late.uuid)["state"] == "pending", "the only slot is in use"
    jobs.rows("select pg_advisory_unlock(4711, 2)")
    jobs.wait_for(late.uuid, "done")


@pytest.mark.parametrize("wrong", ["root:many", "root:0"])
def test_a_wrong_file_is_refused_whole(jobs: Queue, running: Supervised, file: Path, wrong: str) -> None:
    before = {process.pid for process in running.children("worker")}
    write(file, wrong, timeout="1")
    running.process.send_signal(signal.SIGHUP)
    # two processes log it: first the one that compiles the file, then the master
    for event in ("configuration refused", "reload failed"):
        wait_until(lambda event=event: event in running.log, PATIENCE, lambda: running.log)  # type: ignore[misc]
    job = jobs.sample(1).with_delay().write_slowly(2)
    jobs.wait_for(job.uuid, "done")
    assert {process.pid for process in running.children("worker")} == before
    write(file, "root:2")
    reload(running)


def test_new_code_and_code_that_cannot_be_imported(database: str, tmp_path: Path) -> None:
    code = "from queuejobs import Model\nclass Thing(Model):\n    _name = 'thing'\n    def say(self): return {!r}\n"
    module = tmp_path / "changing.py"
    module.write_text(code.format("old"))
    with queue(database) as jobs, supervised(database, tmp_path, "root:1", app="changing") as running:
        env = jobs.sample().env
        insert = (
            "insert into queuemaster.queue_job (uuid, model_name, method_name, records)"
            ' values (%s, \'thing\', \'say\', \'{"_type": "odoo_recordset", "model": "thing", "ids": [1]}\')'
        )
        assert env is not None
        for uuid, text, result in (("1", None, "old"), ("2", "new", "new"), ("3", None, "new")):
            if text:
                module.write_text(code.format(text))
                reload(running)
            jobs.rows(insert, (uuid,))
            assert jobs.wait_for(uuid, "done")["result"] == result
        module.write_text("this is no Python")
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "the new template ended" in running.log, PATIENCE)
        assert "cannot import the application" in running.log
        jobs.rows(insert, ("4",))
        assert jobs.wait_for("4", "done")["result"] == "new"


def test_a_worker_of_old_code_that_comes_up_after_the_reload_leaves(database: str, tmp_path: Path) -> None:
    """It was forked before the reload, and the dispatcher did not know it yet when it told the others to leave."""
    hook = """
import os, time
from sampleapp import *

TEMPLATE = os.getpid()

def wait():
    while os.path.exists("hold") and os.getppid() != TEMPLATE:
        open("held", "w").close()
        time.sleep(0.05)

os.register_at_fork(after_in_child=wait)
"""
    module, hold = tmp_path / "slow.py", tmp_path / "hold"
    module.write_text(hook)
    hold.touch()
    with supervised(database, tmp_path, "root:1", app="slow") as running, queue(database) as jobs:
        wait_until((tmp_path / "held").exists, PATIENCE, "a worker that is still starting")
        module.write_text("from sampleapp import *")
        reload(running)
        hold.unlink()
        row = jobs.wait_for(jobs.sample(1).with_delay().write().uuid, "done")
        template = running.one("template").create_time()
        wait_until(
            lambda: [worker.create_time() > template for worker in running.children("worker")] == [True],
            PATIENCE,
            lambda: f"one worker of the new template; log:\n{running.log}",
        )
        assert row["attempt"] == 1


def test_databases_come_and_go(database: str, empty_database: str, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "queuemaster", "init", "--database", empty_database],
        check=True, env=environment(), stderr=subprocess.DEVNULL,
    )  # fmt: skip
    file = tmp_path / "queuemaster.conf"
    write(file, "root:2", database=database, app="sampleapp")
    from_file = [
        "run",
        "-c",
        str(file),
        "--pidfile",
        str(tmp_path / "pid"),
        "--logfile",
        str(tmp_path / "log"),
    ]
    with queue(database) as first, queue(empty_database) as second:
        process = psutil.Popen(
            [sys.executable, "-m", "queuemaster", *from_file], env=environment(), cwd=tmp_path
        )
        running = Supervised(process, tmp_path)
        try:
            first.wait_for(first.sample(1).with_delay().write().uuid, "done")
            write(file, "root:2", database=f"{database},\n  {empty_database}", app="sampleapp")
            reload(running)
            second.wait_for(second.sample(1).with_delay().write().uuid, "done")
            first.wait_for(first.sample(2).with_delay().write().uuid, "done")
            write(file, "root:2", database=empty_database, app="sampleapp")
            reload(running)
            wait_until(lambda: "not served any more" in running.log, PATIENCE)
            waiting = first.sample(3).with_delay().write()
            second.wait_for(second.sample(2).with_delay().write().uuid, "done")
            assert first.job(waiting.uuid)["state"] == "pending"
            write(file, "root:2", database=f"{database},\n  {empty_database}", app="sampleapp")
            reload(running)
            first.wait_for(waiting.uuid, "done")
        finally:
            process.terminate()
            process.wait(timeout=PATIENCE)


# how many more descriptors each may have: a worker connects when its first job comes
ROOM = {"master": 1, "dispatcher": 1, "template": 1, "worker": 3}


def descriptors(running: Supervised) -> dict[str, int]:
    """Open descriptors by role: of the worker with the most, and of the current template."""
    templates = sorted(running.children("template"), key=psutil.Process.create_time)
    parties: dict[str, list[psutil.Process]] = {
        "master": [running.process],
        "dispatcher": running.children("dispatcher"),
        "template": templates[-1:],
        "worker": running.children("worker"),
    }
    return {
        name: max((_open(process) for process in processes), default=0) for name, processes in parties.items()
    }


def _open(process: psutil.Process) -> int:
    try:
        return len(os.listdir(f"/proc/{process.pid}/fd"))
    except OSError:
        return 0  # a worker of the old code has left meanwhile


def test_descriptors_stay_flat_over_many_reloads_under_load(
    jobs: Queue, running: Supervised, file: Path
) -> None:
    rounds = int(os.environ.get("RELOADS", "15"))
    write(file, "root:2")
    reload(running)
    jobs.env.delay_many([jobs.sample(n).delayable().write_slowly(0.01) for n in range(200 * rounds)])
    wait_until(lambda: len(running.children("worker")) == 2, PATIENCE)
    counts = []
    for _ in range(rounds):
        reload(running)
        wait_until(
            lambda: len(running.children("worker")) == 2,
            PATIENCE,
            lambda: f"two workers: {running.children('worker')}; log:\n{running.log}",
        )
        counts.append(
            wait_until(
                lambda: all((numbers := descriptors(running)).values()) and numbers,
                PATIENCE,
                "descriptors of every role",
            )
        )
    assert jobs.states().get("done", 0) > 0
    assert jobs.value("select coalesce(max(attempt), 0) from queuemaster.queue_job") <= 1
    half = rounds // 2
    # Medians, since for a moment workers leave while others come, and a process that is ending has closed its files.
    first, second = (
        {name: median_low(count[name] for count in part) for name in ROOM}
        for part in (counts[:half], counts[half:])
    )
    print(f"RELOADS={rounds}: median of the first half {first}, of the second {second}")  # noqa: T201
    assert all(second[name] <= first[name] + room for name, room in ROOM.items()), counts


def test_root_capacity_by_signals(jobs: Queue, running: Supervised) -> None:
    """Two TTIN raise root's capacity from 1 to 3, and a new dispatcher keeps it; one TTOU lowers it to exactly 2."""

    def change(signum: int, capacity: int) -> None:
        before = log_count(capacity)
        running.process.send_signal(signum)
        wait_until(
            lambda: log_count(capacity) > before,
            PATIENCE,
            lambda: f"capacity {capacity}; log:\n{running.log}",
        )

    def log_count(capacity: int) -> int:
        return running.log.count(f"capacity of root changed capacity={capacity}")

    jobs.rows("select pg_advisory_lock(4711, 1)")
    for n in range(3):
        jobs.sample(n).with_delay().write_and_wait(1)
    wait_until(lambda: jobs.states().get("started") == 1, PATIENCE)
    change(signal.SIGTTIN, 2)
    change(signal.SIGTTIN, 3)
    wait_until(lambda: jobs.states().get("started") == 3, PATIENCE, lambda: running.log)
    running.one("dispatcher").kill()
    wait_until(
        lambda: log_count(3) == 2,
        PATIENCE,
        lambda: f"the new dispatcher to get the capacity; log:\n{running.log}",
    )
    change(signal.SIGTTOU, 2)
    jobs.rows("select pg_advisory_unlock(4711, 1)")
    jobs.wait_until_drained()
    # there are three workers, so a third slot would be used
    jobs.rows(LOG)
    jobs.env.delay_many([jobs.sample(n).delayable().write_slowly(0.05) for n in range(20)])
    jobs.wait_until_drained()
    assert most_at_once(jobs)["root"] == 2


def test_the_command(jobs: Queue, running: Supervised, file: Path, tmp_path: Path) -> None:
    write(file, "root:2")
    subprocess.run(
        [sys.executable, "-m", "queuemaster", "reload", "--pidfile", str(tmp_path / "pid")],
        check=True, env=environment(), stdout=subprocess.DEVNULL,
    )  # fmt: skip
    wait_until(lambda: "queuemaster.master: reloaded" in running.log, PATIENCE)
    result = subprocess.run(
        [sys.executable, "-m", "queuemaster", "reload", "--pidfile", str(tmp_path / "nobody")],
        capture_output=True, text=True, env=environment(), check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert "not running" in result.stderr


def test_a_reload_that_comes_while_it_starts_waits(database: str, tmp_path: Path, jobs: Queue) -> None:
    file = tmp_path / "queuemaster.conf"
    write(file, "root:1")
    with supervised(database, tmp_path, "", ["-c", str(file)]) as running:
        wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip(), PATIENCE)
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "queuemaster.master: reloaded" in running.log, PATIENCE, lambda: running.log)
        jobs.wait_for(jobs.sample(1).with_delay().write().uuid, "done")
