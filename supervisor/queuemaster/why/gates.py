"""The gates that a job passes before it runs: facts → the verdict of each, and the jobs that hold it shut. Pure."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from queuejobs.shared.job_state import JobState
from queuemaster.channels import Override, Tree, overridden
from queuemaster.channels.keys import show_rate
from queuemaster.channels.parse import complete_name
from queuemaster.words import counted, first_line, lasting

from .facts import COUNTED, Facts, OtherJob
from .naming import listed, named
from .opening import throttled_for, without_token_for

BEAT_LATE = 30.0  # seconds without a heartbeat after which another dispatcher may end the leader
# seconds that a job is ready, with a free slot, before the workers are the likely cause
WORKERS_ARE_LATE = 15.0


class Verdict(enum.Enum):
    """Whether a job may pass."""

    OPEN = "open"
    SHUT = "shut"
    UNKNOWN = "unknown"  # the facts do not tell


@dataclass(frozen=True)
class Gate:
    """One condition: ``says`` is a sentence without its capital letter, ``holders`` the jobs that hold it shut."""

    name: str
    verdict: Verdict
    says: str
    holders: tuple[OtherJob, ...] = ()


@dataclass(frozen=True)
class Channels:
    """The tree as configured, what each database changed live, and the tree in force."""

    configured: Tree
    overrides: Mapping[str, tuple[Override, ...]]

    @cached_property
    def tree(self) -> Tree:
        """The tree with the live changes."""
        every = [override for of_database in self.overrides.values() for override in of_database]
        return Tree(overridden(self.configured, every))


def _open(name: str, says: str) -> Gate:
    return Gate(name, Verdict.OPEN, says)


def _shut(name: str, says: str, holders: tuple[OtherJob, ...] = ()) -> Gate:
    return Gate(name, Verdict.SHUT, says, holders)


def state(facts: Facts) -> Gate:
    """Whether the job waits at all."""
    job = facts.job
    if job.state == JobState.STARTED:
        return _shut("state", _running(facts))
    ended = "" if job.ended_ago is None else f" {lasting(job.ended_ago)} ago"
    error = first_line(job.error)
    if job.state == JobState.DONE:
        return _shut("state", f"it does not wait: it was done{ended}")
    if job.state == JobState.CANCELLED:
        again = f"to run it after all: queuemaster jobs requeue {job.uuid}"
        return _shut("state", f"it does not wait: it was cancelled{ended}; {again}")
    if job.state == JobState.FAILED:
        tries = f"{job.retry} of {job.max_retries} tries" if job.max_retries else f"{job.retry} tries"
        again = f"when that is fixed: queuemaster jobs requeue {job.uuid}"
        return _shut(
            "state", f"it does not wait: it failed after {tries}, {error or 'without an error'}; {again}"
        )
    if job.doomed:
        last = f"it has failed for good, {error or 'without an error'}"
        return _open("state", f"{last}; it is not run again: a worker ends it and calls its on_fail_method")
    if job.unknown_for is not None:
        missing = f"the workers do not know {job.call} (for {lasting(job.unknown_for)})"
        advice = "is the module named with --app, and the code deployed? It fails after unknown_model_grace"
        return _open("state", f"{job.state}; {missing}: {advice}")
    tried = f", tried {job.retry} of {job.max_retries or '∞'} times" if job.retry else ""
    last = f", the last one: {error}" if job.retry and error else ""
    return _open("state", f"{job.state} for {lasting(job.created_ago)}{tried}{last}")


def _running(facts: Facts) -> str:
    job = facts.job
    since = "" if job.started_ago is None else f" for {lasting(job.started_ago)}"
    attempt = f"attempt {job.attempt}"
    if job.worker is None or not job.worker.alive:
        worker = "its worker" if job.worker is None else f"its worker {job.worker.pid} on {job.worker.host}"
        remedy = (
            "the leader puts it back"
            if facts.leader.led
            else "it is put back as soon as a supervisor leads here"
        )
        return f"it was started ({attempt}){since}, but the session of {worker} is gone: {remedy}"
    if job.doomed:
        return f"it has failed for good: worker {job.worker.pid} on {job.worker.host} ends it{since}"
    cancelling = "; it is being cancelled" if job.cancel_requested else ""
    return f"it runs{since}: {attempt}, worker {job.worker.pid} on {job.worker.host}{cancelling}"


def dependencies(facts: Facts) -> Gate:
    """The jobs that must be done first; when an ancestor has failed, that one."""
    parents, roots = facts.parents, facts.roots
    if not parents.count:
        if facts.job.state == JobState.WAIT_DEPENDENCIES:
            says = "all jobs that it waited for are done: the leader's next sweep releases it, within 30 s"
            return _shut("dependencies", says)
        return _open("dependencies", "it waits for no other job")
    stuck = tuple(root for root in roots.shown if root.state in (JobState.FAILED, JobState.CANCELLED))
    waits = f"it waits for {counted(parents.count, 'job')}"
    if stuck:
        first = stuck[0]
        advice = f"queuemaster jobs requeue {first.uuid}, or jobs done to go on without it"
        if first.state == JobState.FAILED:
            end = f"failed: {first_line(first.error)}" if first.error else "failed"
        else:
            end = "was cancelled"
        where = "one of them" if any(first.uuid == parent.uuid for parent in parents.shown) else "above them"
        more = f", and {len(stuck) - 1} more like it" if len(stuck) > 1 else ""
        says = f"{waits}, and {where} {first.uuid} ({first.call}) {end}{more}; {advice}"
        return _shut("dependencies", says, stuck)
    if roots.shown and {root.uuid for root in roots.shown} != {parent.uuid for parent in parents.shown}:
        turn = "which waits in turn for" if parents.count == 1 else "which wait in turn for"
        says = f"{waits}: {listed(parents.shown, parents.count)}, {turn}"
        advice = (
            f"; queuemaster why {roots.shown[0].uuid}" if roots.shown[0].state == JobState.PENDING else ""
        )
        return _shut("dependencies", f"{says} {_with_states(roots.shown, roots.count)}{advice}", roots.shown)
    return _shut("dependencies", f"{waits}: {_with_states(parents.shown, parents.count)}", parents.shown)


def _with_states(jobs: tuple[OtherJob, ...], count: int) -> str:
    states = {job.state for job in jobs}
    return f"{listed(jobs, count)}, {'/'.join(sorted(states))}"


def eta(facts: Facts) -> Gate:
    """Whether the job is due."""
    wait = facts.job.eta_in
    if wait is None:
        return _open("eta", "it has no time to wait for")
    why = ", after a try that was not the last" if facts.job.retry else ""
    if wait <= 0:
        return _shut("eta", "its time has come: the leader is about to make it ready")
    return _shut("eta", f"its time has not come: due in {lasting(wait)}{why}")


def channel(facts: Facts, tree: Tree) -> Gate:
    """The channel that the job runs in, which may be one above its stored channel."""
    stored = complete_name(facts.job.channel)
    runs_in = tree.resolve(stored)
    if runs_in == stored:
        return _open("channel", f"channel {stored}")
    return _open(
        "channel",
        f"channel {stored} is not configured: it runs in {runs_in}, the nearest above",
    )


def capacity(facts: Facts, tree: Tree, path: tuple[str, ...]) -> Gate:
    """Whether its channel and each one above have a free slot."""
    within = [
        (name, tuple(job for job in facts.running if name in tree.path(tree.resolve(job.channel))))
        for name in path
    ]
    for name, holders in within:
        capacity = tree[name].capacity
        if capacity == 0:
            return _shut("capacity", f"channel {name} has capacity 0: nothing starts there")
        if capacity is not None and len(holders) >= capacity:
            slots = "the slot" if capacity == 1 else f"all {capacity} slots"
            used = (
                f"{slots} of channel {name} {'is' if capacity == 1 else 'are'} in use, by {listed(holders)}"
            )
            return _shut("capacity", used, holders)
    slots_in_use = [
        f"{name} {len(holders)} of {'any' if tree[name].capacity is None else tree[name].capacity}"
        for name, holders in within
    ]
    return _open("capacity", f"slots in use: {', '.join(slots_in_use)}")


def _timed(facts: Facts, tree: Tree, name: str) -> list[float]:
    """The ages of the last starts in a channel and below it."""
    return [ago for stored, ago in facts.starts if name in tree.path(tree.resolve(stored))]


def throttle(facts: Facts, tree: Tree, path: tuple[str, ...]) -> Gate:
    """Whether enough time has passed since the last start."""

    def wait(name: str) -> float:
        return throttled_for(_timed(facts, tree, name), tree[name].throttle)

    limited = [name for name in path if tree[name].throttle]
    return _opening(
        "throttle", limited, wait, lambda name: f"{lasting(tree[name].throttle)} between two starts"
    )


def rate(facts: Facts, tree: Tree, path: tuple[str, ...]) -> Gate:
    """Whether the rate allows another start."""

    def wait(name: str) -> float:
        return without_token_for(_timed(facts, tree, name), tree[name].rate, tree[name].burst)

    limited = [name for name in path if tree[name].rate]
    return _opening("rate", limited, wait, lambda name: f"{show_rate(tree[name].rate)} starts")


def _opening(
    kind: str, limited: list[str], wait: Callable[[str], float], limit: Callable[[str], str]
) -> Gate:
    """The gate of a throttle or a rate. ``limited``: the channels of the path that have one."""
    if not limited:
        return _open(kind, "none")
    latest = max(limited, key=wait)
    if wait(latest) > 0:
        then = f"as far as the database knows, the next in {lasting(wait(latest))}"
        return _shut(kind, f"channel {latest} allows {limit(latest)}: {then}")
    return _open(kind, ", ".join(f"channel {name} allows {limit(name)}" for name in limited))


def sequential(facts: Facts, tree: Tree, path: tuple[str, ...]) -> Gate:
    """Whether a sequential channel has a failed, delayed or ready job before it."""
    names = [name for name in path if tree[name].sequential]
    if not names:
        return _open("sequential", "none of its channels is sequential")
    for name in names:
        failed = tuple(job for job in facts.failed if tree.resolve(job.channel) == name)
        if failed:
            says = (
                f"channel {name} is sequential, and {named(failed[0])} holds all others;"
                f" queuemaster jobs requeue {failed[0].uuid}, or jobs done, or jobs cancel"
            )
            return _shut("sequential", says, failed)
        delayed = tuple(job for job in facts.delayed if tree.resolve(job.channel) == name)
        if delayed:
            says = f"channel {name} is sequential, and {named(delayed[0])} comes before it"
            return _shut("sequential", says, delayed)
    if names[0] == path[0] and facts.better.count:
        says = f"channel {names[0]} is sequential, and {listed(facts.better.shown, facts.better.count)} come before it"
        return _shut("sequential", says, facts.better.shown)
    return _open("sequential", f"channel {', '.join(names)}: nothing before it")


def pause(channels: Channels, path: tuple[str, ...]) -> Gate:
    """Whether its channel or one above is paused, and where that was set."""
    tree = channels.tree
    for name in path:
        if tree[name].paused:
            databases = [
                database for database, overrides in channels.overrides.items()
                if any(override.channel == name and override.paused for override in overrides)
            ]  # fmt: skip
            if databases:
                cause = f"was paused live, in database {', '.join(databases)}; queuemaster channel {name} --resume"
            else:
                cause = "is paused by the configuration"
            return _shut("pause", f"channel {name} {cause}")
    return _open("pause", "none of its channels is paused")


def order(facts: Facts) -> Gate:
    """The ready jobs of its channel that come before it."""
    better = facts.better
    if not better.count:
        return _open("order", "no ready job of its channel comes before it")
    come = "comes" if better.count == 1 else "come"
    many = f"{COUNTED} or more ready jobs" if better.count == COUNTED else counted(better.count, "ready job")
    says = f"{many} of its channel {come} before it: {listed(better.shown, better.count)}"
    return _shut("order", says, better.shown)


def leader(facts: Facts) -> Gate:
    """Whether a dispatcher leads its database."""
    leader = facts.leader
    if leader.stock:
        return _shut(
            "leader",
            f"the stock runner of the addon leads {facts.database}, and starts its jobs; we stand by",
        )
    if not leader.led:
        seen = (
            ""
            if leader.beat_ago is None
            else f", since {lasting(leader.beat_ago)}, when one did on {leader.host}"
        )
        return _shut("leader", f"no supervisor serves database {facts.database}{seen}: queuemaster status")
    if leader.takes_over:
        return _shut("leader", f"a dispatcher is about to take over database {facts.database}")
    if leader.beat_ago is not None and leader.beat_ago > BEAT_LATE:
        says = (
            f"the dispatcher on {leader.host} leads, but has not been heard of for {lasting(leader.beat_ago)}"
        )
        return _shut("leader", f"{says}: is that process stopped, or that host away?")
    return _open("leader", f"a dispatcher on {leader.host} leads, epoch {leader.epoch}")


def worker(facts: Facts, tree: Tree | None, free: bool) -> Gate:
    """Whether a worker can run it. ``free``: no other gate is shut."""
    if tree is None:
        total = sum(facts.sessions.values())
        if total:
            return _open("worker", f"{counted(total, 'worker')} with a session here")
        return Gate("worker", Verdict.UNKNOWN, "no worker has worked on this database yet")
    pool = tree.resolve(facts.job.channel)
    if facts.pools is not None and pool in facts.pools:
        workers = facts.pools[pool]
        if not workers.alive and workers.backoff > 0:
            says = f"workers of {pool} die before they are of use: the next one starts in {lasting(workers.backoff)}"
            return _shut("worker", f"{says}; the log says why")
        if workers.alive:
            return _open("worker", f"{counted(workers.alive, 'worker')} of {pool}")
    sessions = facts.sessions.get(pool, 0)
    if sessions:
        return _open("worker", f"{counted(sessions, 'worker')} of {pool} with a session here")
    fresh = facts.job.attempt == 0 and facts.job.created_ago > WORKERS_ARE_LATE
    if free and fresh:
        says = f"no worker of {pool} has come for it in {lasting(facts.job.created_ago)}"
        return _shut(
            "worker",
            f"{says}: can the application be imported? See queuemaster status, and the log",
        )
    return Gate("worker", Verdict.UNKNOWN, f"no worker of {pool} has worked on this database yet")


def database(facts: Facts) -> Gate:
    """Whether a supervisor accepts the database."""
    if facts.schema_problem:
        return _shut(
            "database", f"no supervisor of this version accepts {facts.database}: {facts.schema_problem}"
        )
    if facts.modules:
        return _shut(
            "database", f"modules are changing in {facts.database}, jobs wait for them: {facts.modules}"
        )
    return _open("database", f"database {facts.database} has the queue, at this version")
