"""The metrics text is complete and bounded, and its counters never go down."""

from __future__ import annotations

import random
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from queuejobs.shared.scoreboard import Scoreboard, State
from queuejobs.shared.work_counts import BOUNDS, OUTCOMES, RunOutcome, WorkCounts
from queuemaster.channels import Tree
from queuemaster.channels.channel import ChannelConfig
from queuemaster.exporter import metrics
from queuemaster.exporter.channel_labels import MOST, OTHER, ChannelLabels
from queuemaster.exporter.job_counts import Rows
from queuemaster.exporter.snapshot import Snapshot, Unsettled, look
from queuemaster.master.core.counters import ExitCause
from queuemaster.status_board import DispatcherStatus, MasterStatus, StatusBoard
from support.programs import program
from support.scraping import Samples, parsed

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "metrics.md"


def master(**changes: object) -> MasterStatus:
    document: MasterStatus = {
        "pid": 1, "version": "1.2", "phase": "running", "started": 0.0, "pools": {}, "workers": [],
        "children": {"dispatcher": {"pid": 7, "ready": True, "backoff_seconds": 0.0}},
        "restarts": {}, "counters": {},
    }  # fmt: skip
    document.update(changes)  # type: ignore[typeddict-item]
    return document


def dispatcher(**changes: object) -> DispatcherStatus:
    document: DispatcherStatus = {"pid": 7, "draining": False, "channels": {}, "databases": {}, "links": {}}
    document.update(changes)  # type: ignore[typeddict-item]
    return document


def snapshot_of(
    document: DispatcherStatus | None = None, work: dict[str, WorkCounts] | None = None
) -> Snapshot:
    return Snapshot(master(), 0.0, document, document is not None, work or {}, Counter())


def tree(*names: str) -> Tree:
    return Tree([ChannelConfig("root", 4), *(ChannelConfig(name, 1) for name in names)])


class _Fixed(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


def text(
    snapshot: Snapshot, channels: Tree | None = None, jobs: dict[str, list[Rows] | None] | None = None
) -> str:
    registry = CollectorRegistry()
    channels = channels or tree()
    labels = ChannelLabels(channels.names)
    registry.register(_Fixed(list(metrics.families(channels, labels, snapshot, jobs or {}, {"master": 1}))))
    return generate_latest(registry).decode()


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[f"queuemaster_{name}", frozenset(labels.items())]


def test_every_series_of_a_configured_channel_is_there_before_anything_has_happened() -> None:
    samples = parsed(text(snapshot_of(), tree("root.a")))
    for channel in ("root", "root.a"):
        for outcome in OUTCOMES:
            assert value(samples, "jobs_total", channel=channel, outcome=outcome) == 0
        for cause in metrics.CAUSES:
            assert value(samples, "worker_restarts_total", channel=channel, cause=cause) == 0
        assert value(samples, "job_duration_seconds_count", channel=channel) == 0
        assert value(samples, "job_wait_seconds_bucket", channel=channel, le="+Inf") == 0
        assert value(samples, "channel_slots_in_use", channel=channel) == 0
    assert value(samples, "channel_capacity", channel="root") == 4


def test_every_cause_has_a_series() -> None:
    assert {cause.value for cause in ExitCause} == set(metrics.CAUSES)


def test_an_unlimited_channel_has_what_those_above_allow() -> None:
    channels = Tree([ChannelConfig("root", 3), ChannelConfig("root.a", None)])
    assert value(parsed(text(snapshot_of(), channels)), "channel_capacity", channel="root.a") == 3


def test_the_dispatcher_knows_better_than_the_configuration() -> None:
    live = {"root": {"capacity": 9, "effective": 9, "in_use": 2, "paused": True, "rate": 0.0}}
    samples = parsed(text(snapshot_of(dispatcher(channels=live))))
    assert value(samples, "channel_capacity", channel="root") == 9
    assert value(samples, "channel_slots_in_use", channel="root") == 2
    assert value(samples, "channel_paused", channel="root") == 1


def test_channels_beyond_the_bound_share_one_label() -> None:
    channels = tree(*(f"root.c{number}" for number in range(MOST + 50)))
    work = {name: WorkCounts(dict.fromkeys(OUTCOMES, 1)) for name in channels.names}
    rows = [Rows(name, "pending", 2, 5.0) for name in channels.names]
    samples = parsed(text(snapshot_of(work=work), channels, {"one": rows}))
    labels = {dict(series)["channel"] for _, series in samples if "channel" in dict(series)}
    assert len(labels) == MOST + 1
    assert value(samples, "jobs_total", channel=OTHER, outcome="done") == 51
    assert value(samples, "jobs", database="one", channel=OTHER, state="pending") == 102
    assert value(samples, "channel_capacity", channel=OTHER) == 51


def test_channels_that_nobody_configured_add_no_label() -> None:
    rows = [Rows(f"root.a.of{number}", "pending", 1, 1.0) for number in range(500)]
    rows.append(Rows("elsewhere", "done", 3, None))
    work = {"root.gone": WorkCounts(dict.fromkeys(OUTCOMES, 1))}
    samples = parsed(text(snapshot_of(work=work), tree("root.a"), {"one": rows}))
    assert value(samples, "jobs", database="one", channel="root.a", state="pending") == 500
    assert value(samples, "jobs", database="one", channel="root", state="done") == 3
    assert value(samples, "jobs_total", channel=OTHER, outcome="done") == 1


def test_what_is_not_known_is_not_shown_as_zero() -> None:
    samples = parsed(text(snapshot_of(), jobs={"away": None, "here": []}))
    databases = {dict(labels).get("database") for name, labels in samples if name == "queuemaster_jobs"}
    assert databases == {"here"}
    assert value(samples, "database_up", database="away") == 0


@given(st.lists(st.floats(0, 10_000), max_size=50))
def test_a_histogram_counts_everything_once_and_grows_with_its_bounds(times: list[float]) -> None:
    entry = Scoreboard.create().entry(0)
    for seconds in times:
        entry.count(RunOutcome.DONE, seconds)
    counts = entry.counts(0)
    assert counts is not None
    samples = parsed(text(snapshot_of(work={"root": counts})))
    buckets = [
        value(samples, "job_duration_seconds_bucket", channel="root", le=repr(bound)) for bound in BOUNDS
    ]
    assert buckets == [sum(seconds <= bound for seconds in times) for bound in BOUNDS]
    assert value(samples, "job_duration_seconds_count", channel="root") == len(times)
    total = value(samples, "job_duration_seconds_sum", channel="root")
    assert total == pytest.approx(sum(times), abs=1e-5 + len(times) * 1e-6)


def test_a_dead_worker_s_entry_may_be_given_away_at_any_moment() -> None:
    """The master publishes an entry's counts before it clears the entry; a reader in between looks again."""
    status, board = StatusBoard.create(), Scoreboard.create()
    entry, generation, done = board.entry(0), 0, 0
    dice = random.Random(4711)
    for _ in range(300):
        generation += 1
        counters = {"root": WorkCounts({**dict.fromkeys(OUTCOMES, 0), "done": done}).to_json()}
        worker = {"entry": 0, "generation": generation, "pid": 9, "channel": "root"}
        status.master.write(master(workers=[{**worker, "state": "asked"}], counters=counters))
        entry.reserve(generation, 0)
        status.master.write(master(workers=[{**worker, "state": "greeted"}], counters=counters))
        for _ in range(dice.randrange(4)):
            entry.count(RunOutcome.DONE, 0.1)
            done += 1
        snapshot = look(status, board)
        assert snapshot is not None
        assert snapshot.work["root"].outcomes["done"] == done
    entry.reserve(generation + 1, 0)
    with pytest.raises(Unsettled):
        look(status, board)


def test_a_dispatcher_counts_as_up_while_it_is_the_one_that_the_master_has() -> None:
    status, board = StatusBoard.create(), Scoreboard.create()
    status.master.write(master())
    for pid, up in ((7, True), (8, False)):
        status.dispatcher.write(dispatcher(pid=pid))
        snapshot = look(status, board)
        assert snapshot is not None
        assert snapshot.dispatcher_up is up


def test_workers_by_what_they_do() -> None:
    status, board = StatusBoard.create(), Scoreboard.create()
    workers = []
    for index, state in enumerate(("asked", "named", "dead", "greeted", "greeted")):
        board.entry(index).reserve(index, 0)
        workers.append({"entry": index, "generation": index, "pid": 1, "channel": "root", "state": state})
    board.entry(3).change(State.IDLE, 1)
    board.entry(4).change(State.BUSY, 1, 0, 1, 1)
    status.master.write(master(workers=workers))
    snapshot = look(status, board)
    assert snapshot is not None
    assert {state: number for (_, state), number in snapshot.workers.items()} == {
        "booting": 2, "dead": 1, "idle": 1, "busy": 1
    }  # fmt: skip


def test_an_entry_counts_for_its_own_worker_only() -> None:
    entry = Scoreboard.create().entry(1)
    entry.reserve(5, 0)
    entry.waited(-3.0)
    counts = entry.counts(5)
    assert isinstance(counts, WorkCounts)
    assert counts.wait[0] == 1, "a negative wait counts in the lowest bucket, since clocks may disagree"
    assert entry.counts(4) is None


def test_promtool_finds_nothing_to_complain_about() -> None:
    promtool = program("promtool", "prometheus")
    rows = [Rows("root", "pending", 1, 1.0)]
    output = text(snapshot_of(dispatcher()), tree("root.a"), {"one": rows})
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=output, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


def test_every_metric_stands_in_its_document() -> None:
    documented = set(re.findall(r"^\| `(\w+)", DOCUMENT.read_text(), re.MULTILINE))
    exported = {
        line.split()[2].removeprefix("queuemaster_")
        for line in text(snapshot_of(), jobs={"one": []}).splitlines()
        if line.startswith("# TYPE")
    }
    assert exported == documented
