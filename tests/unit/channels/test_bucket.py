"""Rates: no more starts than the bucket had tokens, and no wait while it has one."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuemaster.channels import Candidate, Scheduler, Tree, parse_channels
from queuemaster.channels.bucket import Bucket

RATES = st.floats(1e-4, 1e4)
BURSTS = st.integers(1, 20)
WAITS = st.lists(st.floats(0, 100), max_size=40)


def scheduler(text: str, now: float = 0.0) -> Scheduler:
    return Scheduler(Tree(parse_channels(text).channels), now)


def starts(slots: Scheduler, channel: str, now: float) -> int:
    """How many jobs of a channel may start at this moment; each ends at once, and there are always more."""
    count = 0
    candidate = Candidate(channel, (10, "2026-01-01T00:00:00.000000", 1), "db")
    while slots.choose([candidate], now, lambda _: True) is not None:
        slots.take(channel, now)
        slots.release(channel)
        count += 1
    return count


@given(RATES, BURSTS, WAITS, st.floats(0, 1e6))
def test_in_no_window_more_than_the_burst_and_what_came_in(
    rate: float, burst: int, waits: list[float], now: float
) -> None:
    bucket, begin = Bucket(rate, burst, now), now
    started: list[float] = []
    for wait in [*waits, 100]:
        now += wait
        for _ in range(200):  # a greedy caller takes every token
            if now < bucket.opening():
                break
            bucket = bucket.taken(now)
            started.append(now)
    assert len(started) <= rate * (now - begin) * (1 + 1e-9) + 1e-3, (
        "more starts than tokens: the bucket must begin empty"
    )
    for first, since in enumerate(started):
        for last in range(first, len(started)):
            allowed = burst + rate * (started[last] - since)
            assert last - first + 1 <= allowed * (1 + 1e-9) + 1e-3


@given(RATES, BURSTS, st.floats(0, 1e6), st.integers(1, 50))
def test_whoever_waits_for_the_opening_finds_it_open(rate: float, burst: int, now: float, count: int) -> None:
    text = f"root:4,a:4:rate={rate:f}:burst={burst}"
    slots, begin = scheduler(text, now), now
    rate = slots.tree["root.a"].rate
    for number in range(1, count + 1):
        opening = slots.next_opening(now)
        assert opening is not None
        now = opening
        assert starts(slots, "root.a", now) == 1
        assert now - begin == pytest.approx(number / rate, rel=1e-6, abs=1e-6), (
            "the channel was idle although the bucket had a token"
        )


def test_what_was_not_used_is_saved_up_to_the_burst_and_no_further() -> None:
    slots = scheduler("root:4,a:4:rate=2/s:burst=3")
    assert starts(slots, "root.a", 0.0) == 0
    assert starts(slots, "root.a", 1.0) == 2
    assert starts(slots, "root.a", 1000.0) == 3
    assert starts(slots, "root.a", 1000.4) == 0
    assert slots.next_opening(1000.4) == 1000.5
    assert starts(slots, "root.a", 1000.5) == 1


def test_a_start_takes_a_token_of_every_channel_above() -> None:
    slots = scheduler("root:4:rate=1:burst=2,a:4:rate=4:burst=9,a.b:4")
    assert starts(slots, "root.a.b", 10.0) == 2
    assert starts(slots, "root", 10.5) == 0
    assert starts(slots, "root", 11.0) == 1
    assert slots.tree.rate("root.a.b") == 1.0


def test_a_start_that_was_none_costs_no_token() -> None:
    slots = scheduler("root:4:rate=1/h")
    slots.take("root", 3600.0)
    slots.give_back("root")
    slots.release("root")
    assert starts(slots, "root", 3600.0) == 1


def test_a_job_found_running_costs_no_token() -> None:
    slots = scheduler("root:4:rate=1")
    slots.take("root", None)
    assert starts(slots, "root", 1.0) == 1


def test_a_new_rate_keeps_the_tokens_and_a_new_burst_holds_what_it_can() -> None:
    slots = scheduler("root:9:rate=1:burst=8")

    def change(text: str) -> None:
        slots.reconfigure(Tree(parse_channels(text).channels), 100.0)

    change("root:9:rate=2:burst=3")
    assert starts(slots, "root", 100.0) == 3
    change("root:9:rate=1/h:burst=3")
    assert slots.next_opening(100.0) == 100.0 + 3600
    change("root:9")
    assert slots.next_opening(100.0) is None
    change("root:9:rate=1")
    assert starts(slots, "root", 100.0) == 0, "a rate begins empty"


def test_workers_are_wanted_for_as_many_as_there_are_tokens() -> None:
    slots = scheduler("root:9:rate=1:burst=2")
    candidates = [Candidate("root", (10, "2026-01-01T00:00:00.000000", n), n) for n in range(5)]
    for _ in range(2):  # asking takes no token
        assert slots.wanted(candidates, 10.0, lambda _: False) == ("root", "root")


@given(RATES, st.lists(st.booleans(), max_size=30))
def test_openings_only_move_on_by_starts(rate: float, taken: list[bool]) -> None:
    bucket = Bucket(rate, 1, 0.0)
    openings = [bucket.opening()]
    for take in taken:
        if take:
            bucket = bucket.taken(bucket.opening())
        openings.append(bucket.opening())
    assert all(earlier <= later for earlier, later in pairwise(openings))
