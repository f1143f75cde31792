"""The rules for channels that OCA's queue_job documents hold here too.

The jobs are in memory, and each channel's queue is read anew before each decision, so only the rules are tested.
"""

from __future__ import annotations

from dataclasses import dataclass

from queuejobs.shared.job_key import Key
from queuemaster.channels import Candidate, Head, Scheduler, Tree, parse_channels


@dataclass
class Job:
    name: str
    channel: str
    key: Key
    eta: float = 0.0
    state: str = "pending"


class Queue:
    """Jobs by name, and a runner that starts every job that may start."""

    def __init__(self, channels: str) -> None:
        self.scheduler = Scheduler(Tree(parse_channels(channels).channels), 0.0)
        self.jobs: dict[str, Job] = {}

    def add(
        self, name: str, channel: str, *, priority: int = 10, created: int | None = None, eta: float = 0
    ) -> None:
        number = len(self.jobs)
        moment = f"2026-01-01T00:00:00.{number if created is None else created:06d}"
        self.jobs[name] = Job(name, channel, (priority, moment, number), eta)

    def configure(self, channels: str) -> None:
        self.scheduler.reconfigure(Tree(parse_channels(channels).channels), 0.0)

    def end(self, name: str, state: str = "done", eta: float = 0.0) -> None:
        job = self.jobs[name]
        if job.state == "started":
            self.scheduler.release(self.scheduler.tree.resolve(job.channel))
        job.state, job.eta = state, eta

    def start(self, now: float = 0.0) -> list[str]:
        """Start every job that may start now; return their names in order."""
        started: list[str] = []
        while True:
            heads = {name: self._head(name, now) for name in {job.channel for job in self.jobs.values()}}
            tree, candidates = self.scheduler.tree, []
            blocked: set[str] = set()
            barriers: dict[str, Key] = {}
            for stored, head in heads.items():
                channel = tree.resolve(stored)
                key = head.candidate(tree[channel].sequential)
                if key is not None:
                    candidates.append(Candidate(channel, key, stored))
                if tree[channel].sequential and head.failed:
                    blocked.add(channel)
                if tree[channel].sequential and head.delayed is not None:
                    barriers[channel] = head.delayed
            chosen = self.scheduler.choose(candidates, now, lambda _: True, blocked, barriers)
            if chosen is None:
                return started
            job = next(job for job in self.jobs.values() if job.key == chosen.key)
            job.state = "started"
            self.scheduler.take(chosen.channel, now)
            started.append(job.name)

    def _head(self, stored: str, now: float) -> Head:
        pending = [job for job in self.jobs.values() if job.channel == stored and job.state == "pending"]
        head = Head()
        ready = sorted(job.key for job in pending if job.eta <= now)
        delayed = min((job.key for job in pending if job.eta > now), default=None)
        failed = any(job.state == "failed" for job in self.jobs.values() if job.channel == stored)
        for _ in range(2):  # an empty answer counts only for a read without a bound
            head.read(ready, False, delayed, failed)
        return head


# -- capacity and hierarchy --------------------------------------------------------------------------------


def test_heavy_jobs_one_at_a_time_while_small_ones_run_four_at_a_time() -> None:
    queue = Queue("root:5,heavy:1,small:4")
    for number in range(6):
        queue.add(f"heavy{number}", "root.heavy")
        queue.add(f"small{number}", "root.small")
    assert queue.start() == ["heavy0", "small0", "small1", "small2", "small3"]


def test_one_job_a_company_and_all_companies_side_by_side() -> None:
    queue = Queue("root:8,company.a:1,company.b:1,company.c:1")
    for name in ("a1", "a2", "b1", "c1", "c2", "c3"):
        queue.add(name, f"root.company.{name[0]}")
    assert queue.start() == ["a1", "b1", "c1"]
    queue.end("c1")
    assert queue.start() == ["c2"]


def test_a_job_runs_as_soon_as_a_slot_is_free() -> None:
    queue = Queue("root:1")
    queue.add("one", "root")
    queue.add("two", "root")
    assert queue.start() == ["one"]
    assert queue.start() == []
    queue.end("one")
    assert queue.start() == ["two"]


def test_the_channel_below_limits_those_that_flow_into_it() -> None:
    queue = Queue("root:3,wide:10,wide.wider:20")
    for number in range(9):
        queue.add(f"job{number}", "root.wide.wider")
    assert len(queue.start()) == 3


def test_a_child_has_room_while_its_neighbour_waits_for_its_own_limit() -> None:
    queue = Queue("root:5,a:4,b:1")
    for number in range(16):
        queue.add(f"a{number}", "root.a")
    assert len(queue.start()) == 4
    queue.add("b", "root.b", priority=99)
    assert queue.start() == ["b"]


def test_jobs_of_subchannels_that_nobody_configured_share_their_parents_capacity() -> None:
    queue = Queue("root:9,auto:2")
    for number in range(5):
        queue.add(f"job{number}", f"root.auto.created_by_application_{number}")
    assert queue.start() == ["job0", "job1"]
    queue.end("job0")
    assert queue.start() == ["job2"]


def test_a_job_of_an_unknown_channel_runs_in_root() -> None:
    queue = Queue("root:1,a:1")
    queue.add("lost", "root.nowhere.at.all")
    assert queue.start() == ["lost"]
    assert queue.scheduler.in_use("root") == 1
    assert queue.scheduler.in_use("root.a") == 0


# -- order -------------------------------------------------------------------------------------------------


def test_priority_counts_across_channels_and_a_full_channel_lets_others_pass() -> None:
    queue = Queue("root:4,a:4,b:1")
    for number in range(5):
        queue.add(f"a{number}", "root.a", priority=10)
    queue.add("b0", "root.b", priority=5)
    queue.add("b1", "root.b", priority=5)
    assert queue.start() == ["b0", "a0", "a1", "a2"]
    queue.end("a1")
    assert queue.start() == ["a3"]  # b1 is more urgent, but its channel is full
    queue.end("b0")
    assert queue.start() == ["b1"]


def test_a_job_that_becomes_more_urgent_overtakes() -> None:
    queue = Queue("root:1")
    queue.add("first", "root")
    queue.add("second", "root")
    queue.jobs["second"].key = (5, *queue.jobs["second"].key[1:])
    assert queue.start() == ["second"]


def test_priority_then_creation_then_number() -> None:
    queue = Queue("root:4")
    queue.add("young", "root", created=9)
    queue.add("old", "root", created=1)
    queue.add("old too", "root", created=1)
    queue.add("urgent", "root", created=10, priority=1)
    assert queue.start() == ["urgent", "old", "old too", "young"]


def test_a_job_waits_for_its_eta_and_then_competes_as_if_it_had_none() -> None:
    queue = Queue("root:1")
    queue.add("later", "root", priority=1, eta=10)
    queue.add("one", "root", priority=5)
    queue.add("two", "root", priority=5)
    queue.add("later, less urgent", "root", priority=9, eta=10)
    assert queue.start(now=1) == ["one"]
    queue.end("one")
    assert queue.start(now=11) == ["later"]
    queue.end("later")
    assert queue.start(now=12) == ["two"]


def test_a_retry_gives_its_slot_to_the_next_job() -> None:
    queue = Queue("root:4,e:1")
    for name in ("e1", "e2", "e3"):
        queue.add(name, "root.e")
    assert queue.start(now=100) == ["e1"]
    queue.end("e1", "pending", eta=105)
    assert queue.start(now=102) == ["e2"]
    assert queue.start(now=106) == []
    queue.end("e2")
    assert queue.start(now=107) == ["e1"]


# -- sequential --------------------------------------------------------------------------------------------


def test_a_sequential_channel_keeps_its_order_past_an_eta() -> None:
    queue = Queue("root:4,s:1:sequential")
    queue.add("one", "root.s")
    queue.add("two", "root.s", eta=20)
    queue.add("three", "root.s")
    assert queue.start(now=10) == ["one"]
    queue.end("one")
    assert queue.start(now=15) == []
    assert queue.start(now=20) == ["two"]
    queue.end("two")
    assert queue.start(now=30) == ["three"]


def test_a_failed_job_stops_a_sequential_channel_until_it_is_requeued_or_settled() -> None:
    queue = Queue("root:4,s:1:sequential,other:1")
    for name in ("one", "two", "three"):
        queue.add(name, "root.s")
    queue.add("elsewhere", "root.other")
    assert queue.start() == ["one", "elsewhere"]
    queue.end("one", "failed")
    assert queue.start() == []
    queue.end("one", "pending")
    assert queue.start() == ["one"]
    queue.end("one", "failed")
    queue.end("one", "done")  # set to done by an operator
    assert queue.start() == ["two"]


def test_a_failed_job_of_a_sequential_channel_also_stops_what_flows_through_it() -> None:
    queue = Queue("root:4,s:1:sequential,s.sub:1")
    queue.add("one", "root.s")
    queue.add("two", "root.s.sub")
    assert queue.start() == ["one"]
    queue.end("one", "failed")
    assert queue.start() == []
    queue.end("one", "cancelled")
    assert queue.start() == ["two"]
    # not the other way round: only a failed job of the channel itself blocks it
    queue.end("two", "failed")
    queue.add("three", "root.s")
    assert queue.start() == ["three"]


def test_a_delayed_job_of_a_sequential_channel_is_not_overtaken_from_above() -> None:
    queue = Queue("root:4,s:1:sequential,s.sub:1")
    queue.add("urgent", "root.s.sub", priority=1)
    queue.add("delayed", "root.s", priority=5, eta=50)
    queue.add("patient", "root.s.sub", priority=9)
    assert queue.start() == ["urgent"]
    queue.end("urgent")
    assert queue.start() == []
    assert queue.start(now=50) == ["delayed"]


def test_a_failed_job_holds_up_nobody_in_an_ordinary_channel() -> None:
    queue = Queue("root:1")
    queue.add("one", "root")
    queue.add("two", "root")
    assert queue.start() == ["one"]
    queue.end("one", "failed")
    assert queue.start() == ["two"]


# -- throttle ----------------------------------------------------------------------------------------------


def test_a_throttle_keeps_its_distance_between_two_starts_though_slots_are_free() -> None:
    queue = Queue("root:4,a:4:throttle=2")
    queue.add("one", "root.a")
    queue.add("two", "root.a")
    assert queue.start(now=100) == ["one"]
    assert queue.scheduler.next_opening(100) == 102
    assert queue.start(now=101) == []
    assert queue.start(now=102) == ["two"]
    assert queue.scheduler.next_opening(102) == 104
    assert queue.scheduler.next_opening(104) is None


def test_a_throttle_that_has_run_out_gives_no_slot() -> None:
    queue = Queue("root:4,t:2:throttle=2")
    for name in ("one", "two", "three"):
        queue.add(name, "root.t")
    assert queue.start(now=100) == ["one"]
    assert queue.start(now=102) == ["two"]
    assert queue.start(now=104) == []
    queue.end("one")
    assert queue.start(now=105) == ["three"]


def test_a_throttle_counts_what_starts_below_it() -> None:
    queue = Queue("root:4:throttle=3,a:4,b:4")
    queue.add("one", "root.a")
    queue.add("two", "root.b")
    assert queue.start(now=0) == ["one"]
    assert queue.start(now=2) == []
    assert queue.start(now=3) == ["two"]


def test_a_throttle_goes_on_from_the_last_start_before_a_restart() -> None:
    queue = Queue("root:4,a:4:throttle=10,a.b:4")
    queue.scheduler.started_last("root.a.b", ago=4.0, now=100.0)
    queue.scheduler.started_last("root.a", ago=9.0, now=100.0)
    queue.add("one", "root.a")
    assert queue.start(now=105) == []
    assert queue.scheduler.next_opening(105) == 106
    assert queue.start(now=106) == ["one"]


# -- pause, and changes while it runs ----------------------------------------------------------------------


def test_a_paused_channel_starts_nothing_nor_do_those_that_flow_into_it() -> None:
    queue = Queue("root:4,p:2:paused,p.sub:1")
    queue.add("one", "root.p")
    queue.add("two", "root.p.sub")
    assert queue.start() == []
    queue.configure("root:4,p:2,p.sub:1")
    assert queue.start() == ["one", "two"]
    queue.configure("root:4:paused")
    queue.add("three", "root.p")
    assert queue.start() == []


def test_a_channel_that_shrinks_starts_nothing_before_it_fits() -> None:
    queue = Queue("root:4")
    for number in range(8):
        queue.add(f"job{number}", "root")
    assert len(queue.start()) == 4
    queue.configure("root:2")
    assert queue.scheduler.in_use("root") == 4
    queue.end("job0")
    queue.end("job1")
    assert queue.start() == []
    queue.end("job2")
    assert queue.start() == ["job4"]


def test_slots_of_a_channel_that_is_gone_count_where_its_jobs_belong_now() -> None:
    queue = Queue("root:9,a:2,a.b:2")
    queue.scheduler.take("root.a.b", 0.0)
    queue.configure("root:9,a:2")
    assert queue.scheduler.in_use("root.a") == 1
    queue.configure("root:9")
    assert queue.scheduler.in_use("root") == 1
    queue.configure("root:9,a:2,a.b:2")  # back to the first configuration
    assert queue.scheduler.in_use("root.a.b") == 1
    queue.scheduler.release("root.a.b")
    assert [queue.scheduler.in_use(name) for name in queue.scheduler.tree.names] == [0, 0, 0]
