"""The metrics: their names, which must not change, their meanings, and how they are made of a snapshot."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from queuejobs.shared.job_state import JobState
from queuejobs.shared.standing import Standing
from queuejobs.shared.work_counts import BOUNDS, HISTOGRAM, OUTCOMES, WorkCounts, sum_histograms
from queuemaster.channels import Tree

from .channel_labels import ChannelLabels
from .job_counts import Rows
from .snapshot import WORKER_STATES, Snapshot

PREFIX = "queuemaster_"
JOB_STATES = tuple(state.value for state in JobState)
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
    labels: ChannelLabels,
    snapshot: Snapshot,
    jobs: Mapping[str, list[Rows] | None],
    memory: Mapping[str, int],
) -> Iterator[Metric]:
    """All metrics. ``jobs``: by database, None where they are not known. ``memory``: resident bytes by role."""
    yield from _channels(tree, labels, snapshot)
    yield from _pools(labels, snapshot)
    yield from _work(labels, snapshot.work)
    yield from _jobs(tree, labels, jobs)
    yield from _service(snapshot, jobs, memory)


def _gauge(name: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, MEANINGS[name], labels=labels)


def _channels(tree: Tree, labels: ChannelLabels, snapshot: Snapshot) -> Iterator[Metric]:
    """The limits in force; those of the configuration while no dispatcher has written a document."""
    in_force = snapshot.dispatcher["channels"] if snapshot.dispatcher is not None else {}
    values: dict[str, Counter[str]] = {name: Counter() for name in _PER_CHANNEL_GAUGES}
    paused: dict[str, bool] = {}
    for channel in tree:
        status, label = in_force.get(channel.name), labels.of(channel.name)
        capacity = channel.capacity if status is None else status["capacity"]
        if capacity is None:
            capacity = tree.effective(channel.name) if status is None else status["effective"]
        values["channel_capacity"][label] += capacity
        values["channel_slots_in_use"][label] += 0 if status is None else status["in_use"]
        is_paused = tree.paused(channel.name) if status is None else status["paused"]
        # channels that share a label are paused when all of them are
        paused[label] = paused.get(label, True) and is_paused
    values["channel_paused"].update({label: int(is_paused) for label, is_paused in paused.items()})
    for name, by_label in values.items():
        family = _gauge(name, "channel")
        for label in labels.all:
            family.add_metric([label], by_label[label])
        yield family


def _pools(labels: ChannelLabels, snapshot: Snapshot) -> Iterator[Metric]:
    yield _by_channel_and(
        WORKER_STATES, _gauge("workers", "channel", "state"), labels,
        ((channel, state, number) for (channel, state), number in snapshot.workers.items()),
    )  # fmt: skip
    yield _by_channel_and(
        CAUSES,
        CounterMetricFamily(
            f"{PREFIX}worker_restarts", MEANINGS["worker_restarts"], labels=("channel", "cause")
        ),
        labels,
        (
            (channel, cause, number)
            for channel, causes in snapshot.master["restarts"].items()
            for cause, number in causes.items()
        ),
    )  # fmt: skip
    longest = dict.fromkeys(labels.all, 0.0)
    for channel, pool in snapshot.master["pools"].items():
        label = labels.of(channel)
        longest[label] = max(longest.get(label, 0.0), pool["backoff_seconds"])
    family = _gauge("pool_backoff_seconds", "channel")
    for label, seconds in longest.items():
        family.add_metric([label], seconds)
    yield family


def _by_channel_and(
    others: Iterable[str], family: GaugeMetricFamily | CounterMetricFamily, labels: ChannelLabels,
    numbers: Iterable[tuple[str, str, int]],
) -> Metric:  # fmt: skip
    """Every channel with every value of the second label, from the beginning. ``numbers``: channel, label, number."""
    sums = Counter({(label, other): 0 for label in labels.all for other in others})
    for channel, other, number in numbers:
        sums[labels.of(channel), other] += number
    for pair, number in sums.items():
        family.add_metric(pair, number)
    return family


def _work(labels: ChannelLabels, work: Mapping[str, WorkCounts]) -> Iterator[Metric]:
    yield _by_channel_and(
        OUTCOMES,
        CounterMetricFamily(f"{PREFIX}jobs", MEANINGS["jobs_total"], labels=("channel", "outcome")),
        labels,
        (
            (channel, outcome, number)
            for channel, counts in work.items()
            for outcome, number in counts.outcomes.items()
        ),
    )
    yield _histogram("job_duration_seconds", labels, work, lambda counts: counts.duration)
    yield _histogram("job_wait_seconds", labels, work, lambda counts: counts.wait)


def _histogram(
    name: str, labels: ChannelLabels, work: Mapping[str, WorkCounts], pick: Callable[[WorkCounts], list[int]]
) -> HistogramMetricFamily:
    sums = {label: [0] * HISTOGRAM for label in labels.all}
    for channel, counts in work.items():
        label = labels.of(channel)
        sums[label] = sum_histograms(sums.get(label, [0] * HISTOGRAM), pick(counts))
    family = HistogramMetricFamily(PREFIX + name, MEANINGS[name], labels=("channel",))
    for label, (*buckets, microseconds) in sums.items():
        bounds = [*(repr(bound) for bound in BOUNDS), "+Inf"]
        cumulative = list(zip(bounds, itertools.accumulate(buckets), strict=True))
        family.add_metric([label], cumulative, microseconds / 1e6)
    return family


def _jobs(tree: Tree, labels: ChannelLabels, jobs: Mapping[str, list[Rows] | None]) -> Iterator[Metric]:
    """Nothing of a database whose jobs are not known: a zero would be wrong."""
    numbers = _gauge("jobs", "database", "channel", "state")
    ages = _gauge("oldest_ready_seconds", "database", "channel")
    for database, rows in jobs.items():
        if rows is None:
            continue
        sums = Counter({(label, state): 0 for label in labels.all for state in JOB_STATES})
        oldest = dict.fromkeys(labels.all, 0.0)
        for row in rows:
            label = labels.of(tree.resolve(row.channel))
            sums[label, row.state] += row.jobs
            oldest[label] = max(oldest[label], row.oldest or 0.0)
        for (label, state), number in sums.items():
            numbers.add_metric([database, label, state], number)
        for label, seconds in oldest.items():
            ages.add_metric([database, label], seconds)
    yield numbers
    yield ages


def _service(snapshot: Snapshot, databases: Iterable[str], memory: Mapping[str, int]) -> Iterator[Metric]:
    known = snapshot.dispatcher["databases"] if snapshot.dispatcher and snapshot.dispatcher_up else {}
    up, leader = _gauge("database_up", "database"), _gauge("leader", "database")
    for database in databases:
        status = known.get(database)
        if status is not None and status["standing"] == Standing.NOT_SERVED:
            continue  # a database of Odoo without the addon: nothing is wrong with it
        up.add_metric([database], int(status is not None and status["up"]))
        leader.add_metric([database], int(status is not None and status["leader"]))
    yield up
    yield leader
    dispatcher = _gauge("dispatcher_up")
    dispatcher.add_metric([], int(snapshot.dispatcher_up))
    yield dispatcher
    resident = _gauge("process_resident_memory_bytes", "role")
    for role, size in memory.items():
        resident.add_metric([role], size)
    yield resident
    build = _gauge("build_info", "version")
    build.add_metric([snapshot.master["version"]], 1)
    yield build
