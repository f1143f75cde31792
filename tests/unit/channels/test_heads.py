"""What the dispatcher knows of a queue, and the races between reads, claims and notifications."""

from __future__ import annotations

from queuejobs.shared.job_key import Key
from queuemaster.channels import WINDOW, Head


def key(number: int, priority: int = 10) -> Key:
    return (priority, f"2026-01-01T00:00:00.{number:06d}", number)


def head_of(*numbers: int, more: bool = False) -> Head:
    """A head that has just been read."""
    head = Head()
    head.read([key(number) for number in numbers], more, None, False)
    if not numbers:
        head.read([], more, None, False)
    assert not head.dirty
    return head


def test_a_new_head_knows_nothing_and_wants_to_be_read() -> None:
    head = Head()
    assert head.dirty
    assert head.bound is None
    assert head.candidate(sequential=False) is None
    assert head.rows_to_read == WINDOW


def test_grants_that_are_out_take_the_first_ones() -> None:
    head = head_of(1, 2, 3)
    head.grant()
    head.grant()
    assert head.candidate(sequential=False) == key(3)
    assert head.rows_to_read == WINDOW + 2
    head.claimed(1)
    assert head.candidate(sequential=False) == key(3)


def test_a_read_that_saw_the_claim_is_repaired_by_its_answer() -> None:
    head = head_of(1, 2)
    head.grant()
    head.read([key(2)], False, None, False)  # job 1 is claimed, but the answer has not arrived yet
    assert head.candidate(sequential=False) is None
    head.claimed(1)
    assert head.candidate(sequential=False) == key(2)


def test_a_read_that_did_not_see_a_claim_answered_meanwhile_does_not_bring_the_job_back() -> None:
    head = head_of(1, 2)
    head.grant()
    head.asking()
    head.claimed(1)
    head.read([key(1), key(2)], False, None, False)
    assert head.candidate(sequential=False) == key(2)


def test_a_notice_during_a_read_makes_it_count_but_not_for_long() -> None:
    head = head_of(2)
    head.asking()
    head.noticed(key(1))
    head.read([key(2)], False, None, False)
    assert head.dirty
    assert head.candidate(sequential=False) == key(2)
    assert head.candidate(sequential=True) is None
    assert head.bound == key(1)


def test_a_return_during_a_read_makes_it_worthless() -> None:
    head = head_of(1)
    head.grant()
    head.asking()
    head.came_back()
    head.read([key(1)], False, None, False)
    assert head.dirty
    assert head.candidate(sequential=False) is None


def test_an_end_during_a_read_makes_the_read_doubtful() -> None:
    head = head_of(1, 2)
    head.asking()
    head.ended()
    head.read([key(1), key(2)], False, None, False)  # the read may have seen the queue before the failure
    assert head.candidate(sequential=True) is None
    assert head.dirty


def test_a_window_claimed_while_it_was_read_is_read_again_when_more_is_behind() -> None:
    head = head_of(1, more=True)
    head.grant()
    head.asking()
    head.claimed(1)
    head.read([key(1)], True, None, False)
    assert head.dirty


def test_a_notice_while_the_whole_queue_is_found_empty_is_the_bound() -> None:
    head = head_of()
    head.asking()
    head.noticed(key(2))
    head.read([], False, None, False)
    assert head.bound == key(2)
    head.noticed(key(5))
    assert head.bound == key(2)
    head.noticed(key(1))
    assert head.bound == key(1)


def test_a_read_that_failed_is_asked_again() -> None:
    head = head_of(1)
    head.asking()
    head.unanswered()
    assert head.dirty
    head.read([key(1)], False, None, False)
    assert not head.dirty


def test_a_notice_does_not_revive_its_job() -> None:
    head = head_of(1)
    head.grant()
    head.claimed(1)
    head.noticed(key(1))  # the notification was sent before the claim
    assert head.dirty
    assert head.candidate(sequential=False) is None


def test_a_notice_from_behind_the_window_waits_for_the_end_of_the_window() -> None:
    head = head_of(1, 2, more=True)
    head.noticed(key(9))
    assert not head.dirty
    head.grant()
    head.grant()
    assert head.dirty
    last = head_of(1, 2)
    last.noticed(key(9))
    assert last.dirty  # only a new read will find that job
    inside = head_of(1, 3, more=True)
    inside.noticed(key(2))
    assert inside.dirty


def test_the_end_of_the_queue_is_not_read_again_and_again() -> None:
    head = head_of(1)
    head.grant()
    assert not head.dirty
    head.claimed(1)
    assert not head.dirty


def test_a_window_that_the_grants_have_used_up_waits_for_an_answer() -> None:
    head = head_of(1, 2, more=True)
    head.grant()
    head.grant()
    head.read([key(1), key(2)], True, None, False)  # the read asked for too few rows
    assert not head.dirty
    head.claimed(1)
    assert head.dirty


def test_a_return_empties_the_window() -> None:
    head = head_of(1, 2, 3)
    head.grant()
    head.came_back()
    assert head.granted == 0
    assert head.dirty
    assert head.candidate(sequential=False) is None


def test_a_row_that_stays_locked_is_tried_less_and_less() -> None:
    head, now = head_of(1), 10.0
    rests = []
    for _ in range(12):
        head.grant()
        head.came_back(now)
        head.read([key(1)], False, None, False)
        rests.append(max(head.rest_until - now, 0.0))
        assert (head.candidate(False, now) is None) == (rests[-1] > 0)
        now = max(now, head.rest_until)
        assert head.candidate(False, now) == key(1)
    assert rests[0] == 0.0
    assert rests == sorted(rests)
    assert rests[-1] == 5.0
    head.came_back(now)
    head.noticed(key(2))
    assert head.rest_until == 0.0


def test_a_sequential_channel_starts_the_first_job_only_when_all_is_known() -> None:
    head = head_of(1, 2)
    assert head.candidate(sequential=True) == key(1)
    head.grant()
    assert head.candidate(sequential=True) is None
    head.claimed(1)
    assert head.candidate(sequential=True) == key(2)
    head.ended()
    assert head.candidate(sequential=True) is None  # job 1 may have failed
    head.read([key(2)], False, None, True)
    assert head.candidate(sequential=True) is None
    assert head.candidate(sequential=False) == key(2)


def test_in_a_sequential_channel_a_delayed_job_holds_up_those_behind_it() -> None:
    head = Head()
    head.read([key(2)], False, key(3), False)
    assert head.candidate(sequential=True) == key(2)
    head.read([key(2)], False, key(1), False)
    assert head.candidate(sequential=True) is None
    assert head.candidate(sequential=False) == key(2)


def test_the_bound_follows_the_least_key_known() -> None:
    head = head_of(3, 4, 5)
    assert head.bound == key(3)
    head.grant()
    head.claimed(3)
    assert head.bound == key(4)
    head.noticed(key(1))
    assert head.bound == key(1)
    head.noticed(key(2))
    assert head.bound == key(1)
    head.claimed(4)
    assert head.bound == key(1)  # not read yet


def test_nothing_from_the_bound_on_means_a_look_at_everything() -> None:
    head = head_of(3)
    head.grant()
    head.claimed(3)
    head.noticed(key(2))
    head.read([], False, None, False)
    assert head.bound is None
    assert head.dirty
    head.noticed(key(7))
    assert head.bound is None  # there may be other jobs before job 7
    head.read([], False, None, False)
    assert not head.dirty
    head.noticed(key(7))
    assert head.bound == key(7)  # the unbounded read found no job at all


def test_look_again_forgets_the_bound() -> None:
    head = head_of(3)
    head.asking()
    head.noticed(None)
    head.read([key(3)], False, None, False)
    assert head.bound is None
    assert head.dirty


def test_a_failed_job_that_is_requeued_behind_the_window_unblocks_a_sequential_channel() -> None:
    head = Head()
    head.read([key(1)], True, None, True)
    assert head.candidate(True) is None
    head.noticed(key(9))
    assert head.dirty
    head.read([key(1)], True, None, False)
    assert head.candidate(True) == key(1)


def test_a_job_that_is_back_before_its_claim_is_answered_is_looked_for_again() -> None:
    head = head_of(1, 2)
    head.grant()
    head.noticed(key(1))  # job 1 was claimed, has ended, and is ready again
    head.read([key(1), key(2)], False, None, False)
    head.claimed(1)  # the answer to the first claim
    assert head.dirty
    assert head.bound is not None
    assert head.bound <= key(1), "the next read must include job 1"
    head.read([key(1), key(2)], False, None, False)
    assert head.candidate(sequential=False) == key(1)


def test_a_new_job_that_is_claimed_by_its_own_grant_costs_no_read() -> None:
    head = head_of(1)
    head.grant()
    head.noticed(key(2))
    head.read([key(1), key(2)], False, None, False)
    head.grant()
    head.claimed(1)
    head.claimed(2)
    assert not head.dirty


def test_a_job_that_was_looked_at_may_start_before_the_head_is_read() -> None:
    head = head_of()
    head.seen(key(2))
    assert head.candidate(sequential=False) == key(2)
    assert head.candidate(sequential=True) is None, "a sequential channel waits until the head is read"
    assert head.dirty
    head.grant()
    assert head.candidate(sequential=False) is None
    head.asking()
    head.claimed(2)
    head.read([key(2)], False, None, False)  # the read began before the claim
    assert head.candidate(sequential=False) is None
    head.seen(key(3))
    assert head.candidate(sequential=False) == key(3)


def test_a_job_that_was_looked_at_changes_nothing_while_others_are_known_or_under_way() -> None:
    head = head_of(1)
    head.seen(key(2))
    assert head.candidate(sequential=False) == key(1)
    head.grant()
    assert head.candidate(sequential=False) is None
    other = head_of(1, more=True)
    other.grant()
    other.claimed(1)
    other.seen(key(5))
    assert other.candidate(sequential=False) is None, "jobs behind the window may come before this one"


def test_a_job_that_was_gone_when_it_was_to_start_costs_one_return() -> None:
    head = head_of()
    head.seen(key(2))
    head.grant()
    head.came_back(0.0)
    assert head.candidate(sequential=False) is None
    assert head.dirty
