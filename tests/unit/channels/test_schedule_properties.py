"""The dispatcher's rules under any order of events.

A simulation around heads and scheduler: queues of two databases, notifications that arrive late, reads that
see the queue before or after other events, workers that claim, fail and die. At every start the rules
are checked against the true state; and once all messages have arrived, no job that may start still waits.
"""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from queuejobs.shared.job_key import Key
from queuemaster.channels import Candidate, Head, Scheduler, Tree
from queuemaster.channels.channel import ChannelConfig
from support.queue_model import (
    CONFIGURED,
    CROWDED,
    DELAYED,
    FAILED,
    GONE,
    PLACES,
    READY,
    RUNNING,
    Job,
    Place,
    Queues,
    Run,
    Tokens,
    channel_configs,
)


class Dispatching(RuleBasedStateMachine):
    """The true state of the queues, and a dispatcher made of heads and a scheduler."""

    @initialize(
        configs=channel_configs(),
        places=st.one_of(st.just(PLACES), st.lists(st.sampled_from(CROWDED), min_size=1, max_size=2)),
        window=st.integers(1, 3),
        quiet=st.booleans(),
    )
    def begin(self, configs: list[ChannelConfig], places: list[Place], window: int, quiet: bool) -> None:
        # Few places: all events hit the same queues, in every order. Many: the limits of the tree apply.
        self.places = places
        self.window = window
        self.quiet = quiet  # no job is cancelled, so a ready job stays ready until it is claimed
        self.tree = Tree(configs)
        self.now = 100.0
        self.scheduler = Scheduler(self.tree, self.now)
        self.heads = {place: Head() for place in PLACES}
        self.queues = Queues()
        self.runs: list[Run] = []
        self.reads: dict[Place, tuple[list[Key], bool, Key | None, bool] | None] = {}
        self.asked_bound: dict[Place, Key | None] = {}
        self.starts: list[tuple[str, float]] = []
        self.staffed = set(CONFIGURED)
        self.tokens = {config.name: Tokens() for config in configs if config.rate}

    # -- what happens in the databases --------------------------------------------------------------------

    @rule(data=st.data(), priorities=st.lists(st.integers(0, 3), min_size=1, max_size=6))
    def insert(self, data: st.DataObject, priorities: list[int]) -> None:
        place = data.draw(st.sampled_from(self.places))
        self.queues.insert(place, priorities)

    @rule(data=st.data(), priority=st.integers(0, 3), wait=st.integers(1, 20))
    def insert_delayed(self, data: st.DataObject, priority: int, wait: int) -> None:
        place = data.draw(st.sampled_from(self.places))
        self.queues.insert_delayed(place, priority, self.now + wait)

    @precondition(lambda self: not self.quiet and self.queues.in_state(READY))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Cancel a job. The cancellation of a ready job is not notified."""
        self._pick(data, READY).state = GONE

    @precondition(lambda self: self.queues.in_state(FAILED))
    @rule(data=st.data())
    def requeue(self, data: st.DataObject) -> None:
        self.queues.requeue(self._pick(data, FAILED))

    @rule(seconds=st.integers(1, 6))
    def time_passes(self, seconds: int) -> None:
        self._until(self.now + seconds)
        self.queues.promote(self.now)

    # -- workers ------------------------------------------------------------------------------------------

    @precondition(lambda self: any(not run.tried for run in self.runs))
    @rule(data=st.data(), dies=st.sampled_from((False, False, False, True)))
    def worker_claims(self, data: st.DataObject, dies: bool) -> None:
        self._claim(data.draw(st.sampled_from([run for run in self.runs if not run.tried])), dies)

    @precondition(lambda self: any(run.tried and not run.answered for run in self.runs))
    @rule(data=st.data())
    def answer_arrives(self, data: st.DataObject) -> None:
        self._answer(data.draw(st.sampled_from([run for run in self.runs if run.tried and not run.answered])))

    @precondition(lambda self: any(run.job is not None and not run.ended for run in self.runs))
    @rule(data=st.data(), outcome=st.sampled_from((GONE, GONE, FAILED, DELAYED, READY)))
    def job_ends(self, data: st.DataObject, outcome: str) -> None:
        running = [run for run in self.runs if run.job is not None and not run.ended]
        self._end(data.draw(st.sampled_from(running)), outcome)

    @precondition(lambda self: any(run.ended and run.answered for run in self.runs))
    @rule(data=st.data())
    def release_arrives(self, data: st.DataObject) -> None:
        self._release(data.draw(st.sampled_from([run for run in self.runs if run.ended and run.answered])))

    @rule(channel=st.sampled_from(CONFIGURED))
    def pool_changes(self, channel: str) -> None:
        self.staffed ^= {channel}

    # -- the dispatcher -----------------------------------------------------------------------------------

    @precondition(lambda self: self.queues.notices)
    @rule(data=st.data())
    def notice_arrives(self, data: st.DataObject) -> None:
        self._notice(data.draw(st.integers(0, len(self.queues.notices) - 1)))

    @precondition(lambda self: self._readable())
    @rule(data=st.data(), early=st.booleans())
    def ask(self, data: st.DataObject, early: bool) -> None:
        place = data.draw(st.sampled_from(self._readable()))
        self.heads[place].asking()
        self.reads[place] = self._look(place, self.heads[place].bound) if early else None
        self.asked_bound[place] = self.heads[place].bound

    @precondition(lambda self: self.reads)
    @rule(data=st.data())
    def read_arrives(self, data: st.DataObject) -> None:
        self._read(data.draw(st.sampled_from(sorted(self.reads))))

    @rule()
    def dispatch(self) -> None:
        while self._start_one():
            pass

    @precondition(lambda self: self.queues.jobs)
    @rule(configs=channel_configs())
    def reconfigure(self, configs: list[ChannelConfig]) -> None:
        self.tree = Tree(configs)
        self.scheduler.reconfigure(self.tree, self.now)
        self.tokens = {
            channel.name: self.tokens.get(channel.name, Tokens()) for channel in self.tree if channel.rate
        }
        for name, tokens in self.tokens.items():
            tokens.fill(self.tree[name], 0.0)
        for head in self.heads.values():
            head.noticed(None)

    @rule()
    def settle(self) -> None:
        """Deliver every message. Then every job that may start has started."""
        for _ in range(1000):
            if not self._settle_step():
                break
        else:
            raise AssertionError("the dispatcher never comes to rest")
        idle = [job.key for job in self.queues.jobs.values() if job.state == READY and self._may_start(job)]
        assert not idle, f"these jobs wait although they may start: {idle}"

    def teardown(self) -> None:
        """In the end all queues can be drained, and every slot is free again."""
        self.reconfigure([replace(channel, paused=False) for channel in self.tree])
        for _ in range(20 + 10 * len(self.queues.jobs)):
            self.settle()
            for run in self.runs:
                self._end(run, GONE)
            for job in self.queues.in_state(FAILED):
                self.queues.requeue(job)
            if not self.runs and all(job.state == GONE for job in self.queues.jobs.values()):
                break
            # move on to the next opening throttle, or past all etas
            self._until(self.scheduler.next_opening(self.now) or self.now + 21)
            self.queues.promote(self.now)
        assert all(job.state == GONE for job in self.queues.jobs.values())
        assert [self.scheduler.in_use(name) for name in CONFIGURED] == [0] * len(CONFIGURED)

    # -- steps --------------------------------------------------------------------------------------------

    def _pick(self, data: st.DataObject, state: str) -> Job:
        return data.draw(st.sampled_from(self.queues.in_state(state)))

    def _readable(self) -> list[Place]:
        # rarely clean heads too: a dispatcher may read every head from time to time
        at_rest = [place for place in self.places if place not in self.reads]
        return [place for place in at_rest if self.heads[place].dirty] or at_rest[: len(self.queues.jobs) % 2]

    def _until(self, moment: float) -> None:
        for name, tokens in self.tokens.items():
            tokens.fill(self.tree[name], moment - self.now)
        self.now = moment

    def _count(self, channel: str, tokens: int) -> None:
        for name in self.tree.path(self.tree.resolve(channel)):
            if name in self.tokens:
                self.tokens[name].level = min(self.tokens[name].level + tokens, self.tree[name].burst)

    def _look(self, place: Place, bound: Key | None) -> tuple[list[Key], bool, Key | None, bool]:
        return self.queues.look(place, bound, self.heads[place].granted + self.window)

    def _read(self, place: Place) -> None:
        read = self.reads.pop(place)
        self.heads[place].read(*(read or self._look(place, self.asked_bound[place])))

    def _notice(self, index: int) -> None:
        place, key = self.queues.notices.pop(index)
        self.heads[place].noticed(key)

    def _claim(self, run: Run, dies: bool) -> None:
        run.tried = True
        keys = self.queues.ready(run.place, run.bound)
        if run.named is not None:
            keys = [key for key in self.queues.ready(run.place, None) if key[2] == run.named]
        if keys and not dies:
            run.job = keys[0][2]
            self.queues.jobs[run.job].state = RUNNING

    def _answer(self, run: Run) -> None:
        run.answered = True
        if run.job is not None:
            self.heads[run.place].claimed(run.job)
        else:
            self.heads[run.place].came_back(self.now)
            self.scheduler.give_back(run.channel)
            self._count(run.channel, 1)
            self.scheduler.release(run.channel)
            self.runs.remove(run)

    def _end(self, run: Run, outcome: str) -> None:
        if run.job is None or run.ended:
            return
        run.ended = True
        job = self.queues.jobs[run.job]
        job.state, job.eta = outcome, self.now + 7
        if outcome in (READY, DELAYED):
            self.queues.notices.append((job.place, job.key if outcome == READY else None))

    def _release(self, run: Run) -> None:
        self.runs.remove(run)
        self.scheduler.release(run.channel)
        self.heads[run.place].ended()

    def _settle_step(self) -> bool:
        """Take one step, such as delivering a message or starting a job; False if there is none to take."""
        dirty = [place for place, head in self.heads.items() if head.dirty]
        waiting = [run for run in self.runs if not run.answered]
        over = [run for run in self.runs if run.ended]
        if self.queues.notices:
            self._notice(0)
        elif self.reads:
            self._read(next(iter(self.reads)))
        elif dirty:
            self.heads[dirty[0]].read(*self._look(dirty[0], self.heads[dirty[0]].bound))
        elif waiting:
            if not waiting[0].tried:
                self._claim(waiting[0], dies=False)
            self._answer(waiting[0])
        elif over:
            self._release(over[0])
        elif not self._start_one():
            candidates, gates = self._candidates(), self._gates()
            wanted = set(self.scheduler.wanted(candidates, self.now, self.staffed.__contains__, *gates))
            assert not wanted & self.staffed
            self.staffed |= wanted
            resting = max((head.rest_until for head in self.heads.values()), default=0.0)
            rested = resting > self.now
            # whole eighths of a second, so that nothing is rounded
            self._until(max(self.now, math.ceil(resting * 8) / 8))
            return bool(wanted) or rested
        return True

    # -- starting, and the rules --------------------------------------------------------------------------

    def _sequential(self, place: Place) -> bool:
        return self.tree[self.tree.resolve(place[1])].sequential

    def _candidates(self) -> list[Candidate]:
        candidates = []
        for place, head in self.heads.items():
            key = head.candidate(self._sequential(place), self.now)
            if key is not None:
                candidates.append(Candidate(self.tree.resolve(place[1]), key, place))
        return candidates

    def _gates(self) -> tuple[set[str], dict[str, Key]]:
        in_order = [(self.tree.resolve(p[1]), h) for p, h in self.heads.items() if self._sequential(p)]
        barriers: dict[str, Key] = {}
        for name, head in in_order:
            if head.delayed is not None:
                barriers[name] = min(head.delayed, barriers.get(name, head.delayed))
        return {name for name, head in in_order if head.failed}, barriers

    def _start_one(self) -> bool:
        candidates, (blocked, barriers) = self._candidates(), self._gates()
        chosen = self.scheduler.choose(candidates, self.now, self.staffed.__contains__, blocked, barriers)
        startable = [
            candidate
            for candidate in candidates
            if candidate.channel in self.staffed
            and self._passes(candidate.channel, candidate.key, blocked, barriers)
        ]
        expected = min(startable, key=lambda candidate: (candidate.key, candidate.source), default=None)
        assert chosen == expected, f"chose {chosen}, the first that may start is {expected}"
        if chosen is None:
            return False
        place, head = chosen.source, self.heads[chosen.source]
        self._check_start(place, chosen.key)
        sequential = self._sequential(place)
        self.runs.append(Run(place, chosen.channel, head.bound, chosen.key[2] if sequential else None))
        head.grant()
        self.scheduler.take(chosen.channel, self.now)
        self.starts.append((chosen.channel, self.now))
        self._count(chosen.channel, -1)
        return True

    def _check_start(self, place: Place, key: Key) -> None:
        """Check a start against the true state, if the dispatcher has all news of this place."""
        if (
            self.heads[place].dirty
            or place in self.reads
            or any(noticed == place for noticed, _ in self.queues.notices)
        ):
            return
        jobs = [job for job in self.queues.jobs.values() if job.place == place]
        if self._sequential(place):
            assert not any(job.state == FAILED for job in jobs), "a job started behind a failed job"
            later = [job.key for job in jobs if job.state == DELAYED]
            assert all(key < delayed for delayed in later), (
                "a job started before an earlier one that waits for its eta"
            )
        ready = self.queues.ready(place, None)
        under_way = [run for run in self.runs if run.place == place and not run.answered]
        if not under_way:
            # (the head may still hold jobs whose cancellation was not notified)
            assert not ready or key <= ready[0], f"{key} is not the first of {place}, {ready[0]} is"
        if self.quiet:
            before = sum(not run.tried for run in under_way)
            assert key in ready[before:], f"{key} is gone, or an outstanding grant will take it"

    def _passes(self, channel: str, key: Key, blocked: set[str], barriers: dict[str, Key]) -> bool:
        """The rules in their plainest form, applied to the true state."""
        parts = channel.split(".")
        for name in (".".join(parts[: n + 1]) for n in range(len(parts))):
            config = next(channel for channel in self.tree if channel.name == name)
            below = [run for run in self.runs if f"{self.tree.resolve(run.channel)}.".startswith(f"{name}.")]
            last = max((at for c, at in self.starts if f"{c}.".startswith(f"{name}.")), default=-1e9)
            if config.paused or name in blocked or key >= barriers.get(name, (99, "", 0)):
                return False
            if config.capacity is not None and len(below) >= config.capacity:
                return False
            if config.throttle and self.now < last + config.throttle:
                return False
            if config.rate and self.tokens[name].level < 1:
                return False
        return True

    def _may_start(self, job: Job) -> bool:
        """Whether a ready job may start by the true state, whatever the dispatcher knows."""
        blocked: set[str] = set()
        barriers: dict[str, Key] = {}
        for other in self.queues.jobs.values():
            name = self.tree.resolve(other.place[1])
            if self.tree[name].sequential and other.state == FAILED:
                blocked.add(name)
            if self.tree[name].sequential and other.state == DELAYED:
                barriers[name] = min(other.key, barriers.get(name, other.key))
        return self._passes(self.tree.resolve(job.place[1]), job.key, blocked, barriers)


TestDispatching = Dispatching.TestCase
TestDispatching.settings = settings(
    max_examples=150, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
