"""Which workers are ended, for which cause, and in which steps."""

from __future__ import annotations

import signal
from dataclasses import replace

import pytest

from queuejobs.shared.scoreboard import EntrySnapshot, State
from queuejobs.shared.stop_causes import Cause
from queuemaster.master.core import events as ev
from queuemaster.master.core.events import Limits, Reading
from queuemaster.master.core.limits import ABORT_GRACE, BOOT, INTERVAL, MEMORY_GRACE, STALL, Watch

HEARTBEAT, GRACE = 30.0, 5.0
START = 1000.0
SECOND = 1_000_000_000
ABORT = [ev.Signal(50, signal.SIGABRT, False), ev.Signal(50, signal.SIGCONT, False)]
KILL = [ev.Signal(50, signal.SIGKILL, True)]


class Scene:
    """One worker that runs job 7, attempt 2, since START; the watch looks at it every half second."""

    def __init__(self, heartbeat_timeout: float = HEARTBEAT, **limits: int) -> None:
        self.now = START
        self.watch = Watch(Limits(60.0, heartbeat_timeout, GRACE))
        self.beats = True
        self.snapshot = EntrySnapshot(
            generation=1, pid=50, boot_deadline=0, heartbeat=0, state=State.BUSY, database=0, job=7, attempt=2,
            since=int(START * SECOND),
            **{"timeout": 0, "cpu": 0, "cpu_before": 0, "memory": 0, **limits},
        )  # fmt: skip
        self.cpu = self.memory = 0
        self.last_beat = int(START * SECOND)

    @property
    def reading(self) -> Reading:
        if self.beats:
            self.last_beat = int(self.now * SECOND)
        snapshot = self.snapshot._replace(heartbeat=self.last_beat)
        return Reading(0, 1, 50, snapshot, self.cpu, self.memory)

    def pass_time(self, seconds: float) -> list[ev.Action]:
        """Let time pass; return the actions of the watch."""
        end, actions = self.now + seconds, self.watch.look([self.reading], self.now)
        while self.now < end:
            self.now = min(self.now + INTERVAL, end)
            actions += self.watch.look([self.reading], self.now)
        return actions


def test_a_run_within_its_limits_is_left_alone() -> None:
    scene = Scene(timeout=100 * SECOND, cpu=10 * SECOND, cpu_before=5 * SECOND, memory=1 << 20)
    scene.cpu, scene.memory = 15 * SECOND, 1 << 20
    assert scene.pass_time(100.0) == []


def test_a_run_without_limits_is_left_alone() -> None:
    scene = Scene()
    scene.cpu, scene.memory = 10**18, 1 << 50
    assert scene.pass_time(10_000.0) == []


def test_a_run_over_its_time_is_asked_to_stop_then_aborted_then_killed() -> None:
    scene = Scene(timeout=10 * SECOND)
    assert scene.pass_time(10.0) == []
    (request,) = scene.pass_time(0.5)
    assert isinstance(request, ev.AskToStop)
    assert (request.pid, request.job, request.attempt, request.cause) == (50, 7, 2, Cause.TIMEOUT)
    assert scene.pass_time(GRACE - 0.5) == []
    assert scene.pass_time(0.5) == ABORT
    assert scene.pass_time(ABORT_GRACE - 0.5) == []
    assert scene.pass_time(0.5) == KILL
    assert scene.pass_time(100.0) == [], "the worker is killed only once"
    charge = scene.watch.charge(0, 1)
    assert charge is not None
    assert (charge.text, charge.limit) == ("timeout after 10 s", True)
    assert scene.watch.charge(0, 1) is None, "the job is charged only once"


@pytest.mark.parametrize(
    ("limits", "used", "cause"),
    [
        ({"cpu": 10 * SECOND, "cpu_before": 5 * SECOND}, {"cpu": 15 * SECOND + 1}, Cause.CPU),
        ({"memory": 1 << 20}, {"memory": (1 << 20) + 1}, Cause.MEMORY),
    ],
)
def test_what_it_uses_is_compared_with_what_it_may(
    limits: dict[str, int], used: dict[str, int], cause: Cause
) -> None:
    scene = Scene(**limits)
    scene.cpu, scene.memory = used.get("cpu", 0), used.get("memory", 0)
    (request,) = scene.pass_time(0.0)
    assert isinstance(request, ev.AskToStop)
    assert request.cause is cause


def test_memory_runs_out_faster_than_patience() -> None:
    scene = Scene(memory=1 << 20)
    scene.memory = 1 << 21
    assert len(scene.pass_time(0.0)) == 1
    assert scene.pass_time(MEMORY_GRACE) == ABORT


def test_a_run_that_stops_in_time_is_not_charged() -> None:
    scene = Scene(timeout=10 * SECOND)
    assert len(scene.pass_time(10.5)) == 1
    scene.snapshot = scene.snapshot._replace(job=8, attempt=1, since=int(scene.now * SECOND))
    assert scene.pass_time(9.0) == [], "the next job is not ended because of the previous one"
    assert scene.watch.charge(0, 1) is None


def test_a_worker_without_a_heartbeat_is_aborted_at_once() -> None:
    scene = Scene()
    scene.beats = False
    assert scene.pass_time(HEARTBEAT) == []
    assert scene.pass_time(0.5) == ABORT, "a hung worker cannot read a request to stop"
    assert scene.pass_time(ABORT_GRACE) == KILL
    charge = scene.watch.charge(0, 1)
    assert charge is not None
    assert not charge.limit
    assert charge.text.startswith("worker 50 hung: no heartbeat for 30 s")


def test_an_idle_worker_must_beat_and_has_no_other_limits() -> None:
    scene = Scene(timeout=SECOND, memory=1)
    scene.memory = 2
    scene.snapshot = scene.snapshot._replace(state=State.IDLE, job=0, attempt=0)
    assert scene.pass_time(100.0) == []
    scene.beats = False
    assert scene.pass_time(HEARTBEAT + 0.5) == ABORT


def test_without_a_timeout_nobody_needs_to_beat() -> None:
    scene = Scene(heartbeat_timeout=0.0)
    scene.beats = False
    assert scene.pass_time(10_000.0) == []
    assert not scene.watch.silent_too_long(float("inf"), START, scene.now)


def test_nobody_pays_for_the_time_in_which_the_master_was_stopped() -> None:
    scene = Scene()
    scene.pass_time(1.0)
    scene.beats = False
    scene.now += 3600.0
    assert scene.pass_time(HEARTBEAT) == []
    assert not scene.watch.silent_too_long(3600.0, START, scene.now)
    assert scene.pass_time(0.5) == ABORT
    assert scene.watch.silent_too_long(3600.0, START, scene.now)


def test_a_look_that_is_a_little_late_does_not_start_the_time_anew() -> None:
    scene = Scene()
    scene.beats = False
    scene.pass_time(HEARTBEAT)
    scene.now += STALL
    assert scene.watch.look([scene.reading], scene.now) == ABORT


def test_a_cancelled_run_is_asked_to_stop_once() -> None:
    scene = Scene()
    assert scene.watch.cancel(scene.reading, 7, 1, scene.now) == [], "the request was for another attempt"
    assert scene.watch.cancel(scene.reading, 8, 2, scene.now) == [], "the request was for another job"
    (request,) = scene.watch.cancel(scene.reading, 7, 2, scene.now)
    assert isinstance(request, ev.AskToStop)
    assert request.cause is Cause.CANCEL
    assert scene.watch.cancel(scene.reading, 7, 2, scene.now) == []
    idle = replace(scene.reading, snapshot=scene.snapshot._replace(state=State.IDLE))
    assert Watch(Limits(60.0, HEARTBEAT, GRACE)).cancel(idle, 7, 2, scene.now) == []


def test_a_process_has_longer_for_its_first_sign_of_life_than_for_the_next() -> None:
    watch = Watch(Limits(60.0, 1.0, GRACE))
    watch.look([], START - 100.0)
    now = START
    while now < START + BOOT:
        assert not watch.silent_too_long(float("inf"), START, now)
        watch.look([], now)
        now += INTERVAL
    assert watch.silent_too_long(float("inf"), START, START + BOOT + 0.5)
    assert watch.silent_too_long(1.5, START, now), (
        "a process that has sent a heartbeat must go on sending them"
    )
    assert not watch.silent_too_long(1.0, START, now)
