"""The metrics: names, meanings, and how they come out of what is known. Their names are promises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from queuejobs.shared.scoreboard import BOUNDS, OUTCOMES
from queuemaster.channels import Tree

from .channel_labels import Names
from .job_counts import Rows
from .snapshot import WORKER_STATES, Situation, Work

PREFIX = "queuemaster_"
JOB_STATES = ("wait_dependencies", "pending", "enqueued", "started", "done", "cancelled", "failed")
CAUSES = ("retired", "signal", "exit", "timeout", "memory", "cpu", "cancel", "hung", "boot")
MEANINGS = {
    "channel_capacity": "Jobs of the channel, and of those below it, that may run at once.",
    "channel_slots_in_use": "Slots in use in the channel and below it.",
    "channel_paused": "Whether the channel, or one above it, is paused.",
    "workers": "Worker processes by what they do.",
    "worker_restarts": "Workers that went and were to be replaced, by why they went.",
    "pool_backoff_seconds": "Until the next worker of the channel is forked, after deaths without useful work.",
    "jobs": "Jobs in the table: live and failed ones counted, done and cancelled ones estimated.",
    "jobs_total": "Runs of jobs that came to an end, by how they did.",
    "job_duration_seconds": "How long runs of jobs took.",
    "job_wait_seconds": "From the creation of a job to its first start.",
    "oldest_ready_seconds": "Since the creation of the oldest job that could start but for slots and workers.",
    "database_up": "Whether the dispatcher is connected to the database.",
    "leader": "Whether this supervisor leads the database.",
    "dispatcher_up": "Whether there is a dispatcher at work.",
    "process_resident_memory_bytes": "Resident memory of the processes of a role together.",
    "build_info": "The version that runs; always 1.",
}
_PER_CHANNEL_GAUGES: tuple[str, ...] = ("channel_capacity", "channel_slots_in_use", "channel_paused")


def families(
    tree: Tree,
    names: Names,
    situation: Situation,
    jobs: Mapping[str, list[Rows] | None],
    memory: Mapping[str, int],
) -> Iterator[Metric]:
    """Everything. ``jobs``: by database, None where they are not known."""
    yield from _channels(tree, names, situation)
    yield from _pools(names, situation)
    yield from _work(names, situation.work)
    yield from _rows(tree, names, jobs)
    yield from _service(situation, jobs, memory)


def _gauge(name: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, MEANINGS[name], labels=labels)


def _channels(tree: Tree, names: Names, situation: Situation) -> Iterator[Metric]:
    """As they count now; as configured while no dispatcher has said anything."""
    told = situation.dispatcher["channels"] if situation.dispatcher is not None else {}
    values: dict[str, Counter[str]] = {name: Counter() for name in _PER_CHANNEL_GAUGES}
    paused: dict[str, bool] = {}
    for channel in tree:
        now, shown = told.get(channel.name), names.shown_as(channel.name)
        capacity = channel.capacity if now is None else now["capacity"]
        if capacity is None:
            capacity = tree.effective(channel.name) if now is None else now["effective"]
        values["channel_capacity"][shown] += capacity
        values["channel_slots_in_use"][shown] += 0 if now is None else now["in_use"]
        held = tree.paused(channel.name) if now is None else now["paused"]
        paused[shown] = paused.get(shown, True) and held  # all of the others together: if every one is
    values["channel_paused"].update({shown: int(held) for shown, held in paused.items()})
    for name, by_channel in values.items():
        family = _gauge(name, "channel")
        for shown in names.shown:
            family.add_metric([shown], by_channel[shown])
        yield family


def _pools(names: Names, situation: Situation) -> Iterator[Metric]:
    yield _two(
        _gauge("workers", "channel", "state"), names, WORKER_STATES,
        ((channel, state, number) for (channel, state), number in situation.workers.items()),
    )  # fmt: skip
    yield _two(
        CounterMetricFamily(
            f"{PREFIX}worker_restarts", MEANINGS["worker_restarts"], labels=("channel", "cause")
        ),
        names, CAUSES,
        (
            (channel, cause, number)
            for channel, causes in situation.master["restarts"].items()
            for cause, number in causes.items()
        ),
    )  # fmt: skip
    longest = dict.fromkeys(names.shown, 0.0)
    for channel, pool in situation.master["pools"].items():
        shown = names.shown_as(channel)
        longest[shown] = max(longest.get(shown, 0.0), pool["backoff_seconds"])
    family = _gauge("pool_backoff_seconds", "channel")
    for shown, seconds in longest.items():
        family.add_metric([shown], seconds)
    yield family


def _two(
    family: GaugeMetricFamily | CounterMetricFamily, names: Names, second: Iterable[str],
    numbers: Iterable[tuple[str, str, int]],
) -> Metric:  # fmt: skip
    """Every channel with every value of the second label, from the beginning."""
    sums = Counter({(shown, other): 0 for shown in names.shown for other in second})
    for channel, other, number in numbers:
        sums[names.shown_as(channel), other] += number
    for labels, number in sums.items():
        family.add_metric(labels, number)
    return family


def _work(names: Names, work: Mapping[str, Work]) -> Iterator[Metric]:
    yield _two(
        CounterMetricFamily(
            f"{PREFIX}jobs", MEANINGS["jobs_total"], labels=("channel", "outcome")
        ),
        names, OUTCOMES,
        (
            (channel, outcome, number)
            for channel, done in work.items()
            for outcome, number in done.outcomes.items()
        ),
    )  # fmt: skip
    yield _histogram("job_duration_seconds", names, work, lambda done: done.duration)
    yield _histogram("job_wait_seconds", names, work, lambda done: done.wait)


def _histogram(
    name: str, names: Names, work: Mapping[str, Work], pick: Callable[[Work], list[int]]
) -> HistogramMetricFamily:
    sums = {shown: [0] * (len(BOUNDS) + 2) for shown in names.shown}
    for channel, done in work.items():
        shown = names.shown_as(channel)
        words = sums.get(shown, [0] * (len(BOUNDS) + 2))
        sums[shown] = [a + b for a, b in zip(words, pick(done), strict=True)]
    family = HistogramMetricFamily(PREFIX + name, MEANINGS[name], labels=("channel",))
    for shown, (*buckets, microseconds) in sums.items():
        cumulative = [sum(buckets[: index + 1]) for index in range(len(buckets))]
        bounds = [*(repr(bound) for bound in BOUNDS), "+Inf"]
        family.add_metric([shown], list(zip(bounds, cumulative, strict=True)), microseconds / 1e6)
    return family


def _rows(tree: Tree, names: Names, jobs: Mapping[str, list[Rows] | None]) -> Iterator[Metric]:
    """Of databases whose jobs are not known, nothing: a zero would be a lie."""
    counted = _gauge("jobs", "database", "channel", "state")
    waiting = _gauge("oldest_ready_seconds", "database", "channel")
    for database, rows in jobs.items():
        if rows is None:
            continue
        sums = Counter({(shown, state): 0 for shown in names.shown for state in JOB_STATES})
        oldest = dict.fromkeys(names.shown, 0.0)
        for row in rows:
            shown = names.shown_as(tree.resolve(row.channel))
            sums[shown, row.state] += row.jobs
            oldest[shown] = max(oldest[shown], row.oldest or 0.0)
        for (shown, state), number in sums.items():
            counted.add_metric([database, shown, state], number)
        for shown, seconds in oldest.items():
            waiting.add_metric([database, shown], seconds)
    yield counted
    yield waiting


def _service(situation: Situation, databases: Iterable[str], memory: Mapping[str, int]) -> Iterator[Metric]:
    told = situation.dispatcher["databases"] if situation.dispatcher and situation.dispatcher_up else {}
    up, leader = _gauge("database_up", "database"), _gauge("leader", "database")
    for database in databases:
        known = told.get(database)
        if known is not None and known["standing"] == "not served":
            continue  # Odoo's, without the addon: nothing is wrong with it
        up.add_metric([database], int(known is not None and known["up"]))
        leader.add_metric([database], int(known is not None and known["leader"]))
    yield up
    yield leader
    dispatcher = _gauge("dispatcher_up")
    dispatcher.add_metric([], int(situation.dispatcher_up))
    yield dispatcher
    resident = _gauge("process_resident_memory_bytes", "role")
    for role, size in memory.items():
        resident.add_metric([role], size)
    yield resident
    build = _gauge("build_info", "version")
    build.add_metric([situation.master["version"]], 1)
    yield build
