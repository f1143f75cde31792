"""Slices: how long a worker may go on without a new grant, and what ends a slice early."""

from __future__ import annotations

import pytest

from queuejobs.shared.job_key import Key
from queuejobs.shared.messages import SliceTerms
from queuemaster.channels import Candidate, Head, Scheduler, Tree, parse_channels
from queuemaster.channels.heads import REMEMBERED
from queuemaster.dispatcher.grant import SLICE_JOBS, Rivals, must_end, slice_of

OURS = (0, "root.a")


def key(number: int, priority: int = 10) -> Key:
    return (priority, f"2026-01-01T00:00:00.{number:06d}", number)


def other(number: int, channel: str = "root.b") -> Candidate:
    return Candidate(channel, key(number), (0, channel))


def test_nothing_else_waits() -> None:
    assert slice_of(0.1, key(2), []) == SliceTerms(0.1, SLICE_JOBS, None)


def test_a_slice_ends_before_the_first_job_of_another() -> None:
    assert slice_of(0.1, key(2), [other(9), other(7)]) == SliceTerms(0.1, SLICE_JOBS, key(7))


@pytest.mark.parametrize("following", [None, key(8)], ids=["nothing follows", "another comes first"])
def test_one_job_only(following: Key | None) -> None:
    assert slice_of(0.1, following, [other(7)]) is None


def test_slices_of_no_time_are_none() -> None:
    assert slice_of(0.0, key(2), []) is None


def test_a_better_job_elsewhere_ends_it() -> None:
    terms = SliceTerms(0.1, SLICE_JOBS, key(7))
    assert must_end(terms, None, None, [other(5)])
    assert not must_end(terms, None, None, [other(7), other(8)]), "the slice ends by itself at the bound"
    assert must_end(SliceTerms(0.1, SLICE_JOBS, None), None, None, [other(8)])


def test_a_job_below_where_it_looks_ends_it() -> None:
    terms = SliceTerms(0.1, SLICE_JOBS, None)
    assert must_end(terms, key(5), key(4), [])
    assert must_end(terms, key(5), None, [])
    assert not must_end(terms, key(5), key(6), [])
    assert not must_end(terms, None, key(6), []), "a slice without a lower bound sees every job"


# whether a candidate could start in the slot of a busy worker


@pytest.mark.parametrize(
    ("channels", "taken", "candidate", "could"),
    [
        ("root:1,a:1,b:1", ["root.a"], other(1), True),
        ("root:2,a:1,b:1", ["root.a", "root.b"], other(1), False),  # channel b is full
        ("root:2,a:1,b:1", ["root.a", "root"], other(1), True),
        ("root:3,a:1,b:1", ["root.a"], other(1), True),  # there is a free slot: the candidate lacks a worker
        ("root:1,a:1,b:1:paused", ["root.a"], other(1), False),
        ("root:1,a:1,b:1:throttle=60", ["root.b", "root.a"], other(1), False),
        ("root:1,a:1,b:1", ["root.a", "root"], other(1), False),  # the capacity was lowered below what runs
        ("root:2,a:1", ["root.a", "root"], Candidate("root", key(1), (0, "root.x")), True),
        ("root:2,a:1", ["root.a"], Candidate("root.a", key(1), (0, "root.a.x")), True),
        # the candidate is in the worker's own queue
        ("root:2,a:1", ["root.a"], Candidate("root.a", key(1), OURS), False),
    ],
)
def test_rivals(channels: str, taken: list[str], candidate: Candidate, could: bool) -> None:
    slots = Scheduler(Tree(parse_channels(channels).channels), 0.0)
    for number, channel in enumerate(taken):
        slots.take(channel, float(number))
    full = slots.full(candidate, 10.0)
    rivals = Rivals([] if full is None else [(candidate, full)])
    assert list(rivals.of(slots.tree.path("root.a"), OURS)) == ([candidate] if could else [])


def test_what_blocks_a_sequential_channel_blocks_there_too() -> None:
    slots = Scheduler(Tree(parse_channels("root:1,a:1,b:1:sequential").channels), 0.0)
    slots.take("root.a", 0.0)
    assert slots.full(other(2), 0.0) == frozenset(("root",))
    assert slots.full(other(2), 0.0, blocked={"root.b"}) is None
    assert slots.full(other(2), 0.0, barriers={"root.b": key(1)}) is None


def test_which_channels_have_a_grant_for_each_start() -> None:
    tree = Tree(parse_channels("root:9,a:2,b:1:sequential,b.c:1,d:2:throttle=1,d.e:2,f:1:rate=5").channels)
    assert [name for name in tree.names if not tree.ordered_or_timed(name)] == ["root", "root.a"]


# how a slice changes the head


def head_of(*numbers: int, more: bool = False) -> Head:
    head = Head()
    head.read([key(number) for number in numbers], more, None, False)
    return head


def test_a_job_that_a_slice_took_is_no_candidate_and_answers_no_grant() -> None:
    head = head_of(1, 2, 3, 4)
    head.grant(sliced=True)
    head.claimed(1)
    head.grant()  # a grant to another worker
    head.taken(2)
    assert head.granted == 1
    assert head.candidate(sequential=False) == key(4)


def test_a_read_that_saw_the_job_before_it_was_taken() -> None:
    head = head_of(1, 2, 3)
    head.grant(sliced=True)
    head.claimed(1)
    head.asking()
    head.taken(2)
    head.read([key(2), key(3)], False, None, False)
    assert head.candidate(sequential=False) == key(3)


def test_a_job_that_is_back_before_we_hear_that_it_was_taken() -> None:
    head = head_of(1, 2, 3)
    head.grant(sliced=True)
    head.claimed(1)
    head.noticed(key(2))  # job 2 was tried, and is ready again
    head.read([key(2), key(3)], False, None, False)
    head.taken(2)
    assert head.dirty, "job 2 may be ready again, so the head must be read"


def test_who_helps_themselves_wants_a_longer_view() -> None:
    head = head_of(1, 2)
    usual = head.rows_to_read
    head.grant(sliced=True)
    head.claimed(1)
    assert head.rows_to_read > usual
    head.slice_ended()
    assert head.rows_to_read == usual


def test_a_grant_that_comes_back_was_no_slice() -> None:
    """These are the database's calls for a slice that found no job."""
    head = head_of(1, 2)
    head.grant(sliced=True)
    head.slice_ended()
    head.came_back(0.0)
    assert (head.granted, head.slices) == (0, 0)


def test_the_end_of_the_window_is_noticed_before_it_is_there() -> None:
    head = head_of(*range(1, 9), more=True)
    head.grant(sliced=True)
    for number in range(1, 5):
        (head.taken if number > 1 else head.claimed)(number)
    assert head.dirty
    assert head.candidate(sequential=False) == key(5), "there are candidates until the head is read again"


def test_a_job_behind_the_window_that_is_back_while_it_is_read() -> None:
    head = head_of(*range(1, 9), more=True)
    head.grant(sliced=True)
    head.claimed(1)
    head.noticed(key(100))  # job 100 ran unnoticed, and is ready again
    head.noticed(key(0, priority=1))
    head.asking()
    for number in (*range(2, 9), 100):
        head.taken(number)
    head.read([key(0, priority=1), key(100)], False, None, False)
    assert head.dirty


def test_a_queue_that_only_grows_is_not_remembered() -> None:
    head = head_of(*range(1, 9), more=True)
    head.grant(sliced=True)
    head.claimed(1)
    for number in range(100, 10_000):
        head.noticed(key(number))
    assert len(head._renewed) <= REMEMBERED
