"""The counters of work: they add up, and survive JSON."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from queuejobs.shared.work_counts import HISTOGRAM, OUTCOMES, RunOutcome, WorkCounts

numbers = st.integers(0, 2**40)
histograms = st.lists(numbers, min_size=HISTOGRAM, max_size=HISTOGRAM)
counts = st.builds(
    WorkCounts, st.fixed_dictionaries(dict.fromkeys(OUTCOMES, numbers)), histograms, histograms
)


@given(counts, counts)
def test_adding_adds_every_number(first: WorkCounts, second: WorkCounts) -> None:
    total = first + second
    assert total == second + first
    for outcome in OUTCOMES:
        assert total.outcomes[outcome] == first.outcomes[outcome] + second.outcomes[outcome]
    assert sum(total.duration) == sum(first.duration) + sum(second.duration)
    assert sum(total.wait) == sum(first.wait) + sum(second.wait)
    assert first + WorkCounts() == first


@given(counts)
def test_json_and_back(before: WorkCounts) -> None:
    assert WorkCounts.from_json(json.loads(json.dumps(before.to_json()))) == before


def test_a_worker_that_only_lost_runs_was_of_no_use() -> None:
    nothing = dict.fromkeys(OUTCOMES, 0)
    assert not WorkCounts().useful
    assert not WorkCounts({**nothing, "lost": 3}).useful
    for outcome in OUTCOMES:
        assert WorkCounts({**nothing, outcome: 1}).useful is (outcome != "lost")


def test_only_runs_of_counted_outcomes_have_a_number() -> None:
    assert set(RunOutcome) - {RunOutcome(name) for name in OUTCOMES} == {
        RunOutcome.CANCELLED,
        RunOutcome.NOTHING,
    }
