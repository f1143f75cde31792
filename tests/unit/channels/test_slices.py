"""How far a worker may go on unasked, and what ends that at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from queuemaster.dispatcher.channels import Candidate, Head, Key, Scheduler, Tree, parse_channels
from queuemaster.dispatcher.slices import Slice, must_end, slice_of

OURS = (0, "root.a")


def key(number: int) -> Key:
    return (10, f"2026-01-01T00:00:00.{number:06d}", number)


def other(number: int, channel: str = "root.b") -> Candidate:
    return Candidate(channel, key(number), (0, channel))


def of(*numbers: int) -> Callable[[Candidate], bool]:
    return lambda one: one.key[2] in numbers


def test_nothing_else_waits() -> None:
    assert slice_of(0.1, OURS, key(2), [Candidate("root.a", key(2), OURS)], of(2)) == Slice(0.1, None)


def test_a_slice_ends_before_the_first_job_that_competes() -> None:
    waiting = [other(9), other(5), other(7)]
    assert slice_of(0.1, OURS, key(2), waiting, of(7, 9)) == Slice(0.1, key(7))


@pytest.mark.parametrize("following", [None, key(8)], ids=["nothing follows", "another comes first"])
def test_one_job_only(following: Key | None) -> None:
    assert slice_of(0.1, OURS, following, [other(7)], of(7)) is None


def test_slices_of_no_time_are_none() -> None:
    assert slice_of(0.0, OURS, key(2), [], of()) is None


def test_a_better_job_elsewhere_ends_it() -> None:
    given = Slice(0.1, key(7))
    assert must_end(given, OURS, None, None, [other(5)], of(5))
    assert not must_end(given, OURS, None, None, [other(7), other(8)], of(7, 8)), "it ends by itself"
    assert not must_end(given, OURS, None, None, [other(5)], of()), "it could not start instead"
    assert not must_end(given, OURS, None, None, [Candidate("root.a", key(5), OURS)], of(5)), "its own"


def test_a_job_below_where_it_looks_ends_it() -> None:
    given = Slice(0.1, None)
    assert must_end(given, OURS, key(5), key(4), [], of())
    assert must_end(given, OURS, key(5), None, [], of())
    assert not must_end(given, OURS, key(5), key(6), [], of())
    assert not must_end(given, OURS, None, key(6), [], of()), "it looks at everything"


# whether a candidate could start in the place of another


@pytest.mark.parametrize(
    ("channels", "taken", "candidate", "could"),
    [
        ("root:1,a:1,b:1", ["root.a"], other(1), True),
        ("root:2,a:1,b:1", ["root.a", "root.b"], other(1), False),  # b itself is full
        ("root:2,a:1,b:1", ["root.a", "root"], other(1), True),
        ("root:1,a:1,b:1:paused", ["root.a"], other(1), False),
        ("root:1,a:1,b:1:throttle=60", ["root.b", "root.a"], other(1), False),
        ("root:2,a:1", ["root.a", "root"], Candidate("root", key(1), (0, "root.x")), True),
        ("root:2,a:1", ["root.a"], Candidate("root.a", key(1), (0, "root.a.x")), True),
    ],
)
def test_could_start(channels: str, taken: list[str], candidate: Candidate, could: bool) -> None:
    slots = Scheduler(Tree(parse_channels(channels).channels), 0.0)
    for number, channel in enumerate(taken):
        slots.take(channel, float(number))
    assert slots.could_start(candidate, "root.a", 10.0) is could


def test_what_blocks_a_sequential_channel_blocks_there_too() -> None:
    slots = Scheduler(Tree(parse_channels("root:1,a:1,b:1:sequential").channels), 0.0)
    slots.take("root.a", 0.0)
    assert slots.could_start(other(2), "root.a", 0.0)
    assert not slots.could_start(other(2), "root.a", 0.0, blocked={"root.b"})
    assert not slots.could_start(other(2), "root.a", 0.0, barriers={"root.b": key(1)})


def test_which_channels_have_a_grant_for_each_start() -> None:
    tree = Tree(parse_channels("root:9,a:2,b:1:sequential,c:2:throttle=1,c.d:2,e:1:rate=5").channels)
    assert [name for name in tree.names if tree.ordered_or_timed(name)] == [
        "root.b", "root.c", "root.c.d", "root.e",
    ]  # fmt: skip


# what the head learns


def known(*numbers: int, more: bool = False) -> Head:
    head = Head()
    head.read([key(number) for number in numbers], more, None, False)
    return head


def test_a_job_that_a_slice_took_is_no_candidate_and_answers_no_grant() -> None:
    head = known(1, 2, 3, 4)
    head.grant(sliced=True)
    head.claimed(1)
    head.grant()  # to another worker
    head.taken(2)
    assert head.granted == 1
    assert head.candidate(sequential=False) == key(4)


def test_a_read_that_saw_the_job_before_it_was_taken() -> None:
    head = known(1, 2, 3)
    head.grant(sliced=True)
    head.claimed(1)
    head.asking()
    head.taken(2)
    head.read([key(2), key(3)], False, None, False)
    assert head.candidate(sequential=False) == key(3)


def test_a_job_that_is_back_before_we_hear_that_it_was_taken() -> None:
    head = known(1, 2, 3)
    head.grant(sliced=True)
    head.claimed(1)
    head.noticed(key(2))  # it was tried, and is ready again
    head.read([key(2), key(3)], False, None, False)
    head.taken(2)
    assert head.dirty, "it may be ready for the second time"


def test_who_helps_themselves_wants_a_longer_view() -> None:
    head = known(1, 2)
    usual = head.rows_to_read
    head.grant(sliced=True)
    head.claimed(1)
    assert head.rows_to_read > usual
    head.slice_ended()
    assert head.rows_to_read == usual


def test_a_queue_that_only_grows_is_not_remembered() -> None:
    """Notices far behind the window, while slices are always under way."""
    head = known(*range(1, 9), more=True)
    head.grant(sliced=True)
    head.claimed(1)
    for number in range(100, 1100):
        head.noticed(key(number))
    assert not head._renewed
