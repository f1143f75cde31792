"""The scheduler and workers: which channels it passes over, and which need another worker."""

from __future__ import annotations

import pytest

from queuemaster.channels import Candidate, Scheduler, Tree, parse_channels


def scheduler(text: str) -> Scheduler:
    return Scheduler(Tree(parse_channels(text).channels), 0.0)


def candidate(channel: str, number: int) -> Candidate:
    return Candidate(channel, (10, "2026-01-01T00:00:00.000000", number), ("db", channel))


A, B, C = (candidate(f"root.{name}", number) for number, name in enumerate("abc"))


def test_a_candidate_without_a_worker_is_passed_over_and_its_channel_is_wanted() -> None:
    slots = scheduler("root:2,a:1,b:1,c:1")
    has_worker = {"root.b"}.__contains__
    assert slots.choose([A, B, C], 0.0, has_worker) == B
    slots.take("root.b", 0.0)
    assert slots.choose([A, C], 0.0, has_worker) is None
    assert slots.wanted([C, A], 0.0, has_worker) == ("root.a",)  # one slot is left in root
    assert slots.in_use("root") == 1  # asking takes no slot


def test_channels_that_may_not_start_want_no_worker() -> None:
    slots = scheduler("root:9,a:1,b:1:paused,c:1")
    slots.take("root.a", 0.0)
    assert slots.wanted([A, B, C], 0.0, lambda _: False, blocked={"root.c"}) == ()
    assert slots.wanted([A, B, C], 0.0, lambda _: False, barriers={"root.c": B.key}) == ()
    assert slots.wanted([A, B, C], 0.0, lambda _: False) == ("root.c",)


def test_the_source_decides_between_equal_keys() -> None:
    slots = scheduler("root:1")
    first, second = (Candidate("root", A.key, (database, "root")) for database in ("one", "two"))
    assert slots.choose([second, first], 0.0, lambda _: True) == first
    assert slots.choose([first, second], 0.0, lambda _: True) == first


def test_a_job_found_running_takes_a_slot_but_is_no_start() -> None:
    slots = scheduler("root:1,a:1:throttle=60")
    slots.take("root.a", None)
    assert slots.in_use("root") == 1
    assert slots.next_opening(0.0) is None


def test_what_runs_counts_beyond_the_capacity_too() -> None:
    slots = scheduler("root:1")
    slots.take("root", None)
    slots.take("root", None)
    slots.release("root")
    assert slots.choose([candidate("root", 1)], 0.0, lambda _: True) is None
    slots.release("root")
    assert slots.choose([candidate("root", 1)], 0.0, lambda _: True) is not None


def test_a_slot_is_released_once() -> None:
    slots = scheduler("root:1")
    slots.take("root", 0.0)
    slots.release("root")
    with pytest.raises(ValueError, match="no slot of channel root is in use"):
        slots.release("root")
