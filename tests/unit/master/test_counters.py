"""The counters of workers that have ended, and the causes of their ends."""

from __future__ import annotations

import signal

import pytest

from queuejobs.shared.stop_causes import Cause
from queuejobs.shared.work_counts import OUTCOMES, WorkCounts
from queuemaster.master.core.counters import Counters, ExitCause, exit_cause
from queuemaster.master.core.events import Reaped
from queuemaster.master.core.limits import Charge, Step

KILLED, CRASHED, LEFT = int(signal.SIGKILL), 3 << 8, 0


def charge(cause: Cause) -> Charge:
    return Charge(7, 1, "because", cause, Step.KILLED, 0.0)


def done_counts(number: int) -> WorkCounts:
    return WorkCounts({**dict.fromkeys(OUTCOMES, 0), "done": number})


@pytest.mark.parametrize(
    ("status", "stopped_for", "cause"),
    [
        (LEFT, None, ExitCause.RETIRED),
        (CRASHED, None, ExitCause.EXIT),
        (KILLED, None, ExitCause.SIGNAL),
        (KILLED, Cause.NONE, ExitCause.HUNG),
        (KILLED, Cause.TIMEOUT, ExitCause.TIMEOUT),
        (CRASHED, Cause.CPU, ExitCause.CPU),
        (KILLED, Cause.MEMORY, ExitCause.MEMORY),
        (LEFT, Cause.CANCEL, ExitCause.CANCEL),
    ],
)
def test_why_a_worker_went(status: int, stopped_for: Cause | None, cause: ExitCause) -> None:
    assert exit_cause(status, stopped_for) is cause


def test_every_cause_of_a_stop_has_its_cause_of_an_exit() -> None:
    assert len({exit_cause(KILLED, cause) for cause in Cause}) == len(Cause)


@pytest.mark.parametrize(
    ("stopped_for", "outcome"),
    [(None, "lost"), (Cause.NONE, "lost"), (Cause.TIMEOUT, "timeout"), (Cause.MEMORY, "memory"),
     (Cause.CPU, "cpu"), (Cause.CANCEL, None)],
)  # fmt: skip
def test_the_run_that_a_worker_died_in_is_counted_for_it(
    stopped_for: Cause | None, outcome: str | None
) -> None:
    counters = Counters()
    event = Reaped(50, KILLED, busy=True, counts=done_counts(4))
    charged = None if stopped_for is None else charge(stopped_for)
    counters.count_death("root", event, charged, replaced=True)
    expected = {**dict.fromkeys(OUTCOMES, 0), "done": 4, **({} if outcome is None else {outcome: 1})}
    assert counters.work()["root"]["outcomes"] == expected


def test_an_idle_worker_takes_no_run_with_it() -> None:
    counters = Counters()
    counters.count_death("root", Reaped(50, KILLED, counts=done_counts(2)), None, replaced=True)
    counters.count_death("root", Reaped(51, LEFT, counts=done_counts(3)), None, replaced=True)
    assert counters.work()["root"]["outcomes"] == done_counts(5).outcomes
    assert counters.restarts() == {"root": {"signal": 1, "retired": 1}}


def test_a_worker_that_is_not_replaced_is_no_restart() -> None:
    counters = Counters()
    counters.count_death("root.a", Reaped(50, LEFT, counts=done_counts(1)), None, replaced=False)
    assert counters.restarts() == {}
    assert counters.work()["root.a"]["outcomes"]["done"] == 1


def test_a_document_that_was_given_out_does_not_change() -> None:
    counters = Counters()
    counters.count_death("root", Reaped(50, LEFT, counts=done_counts(1)), None, replaced=True)
    work, restarts, revision = counters.work(), counters.restarts(), counters.revision
    counters.count_death("root", Reaped(51, KILLED, busy=True, counts=done_counts(1)), None, replaced=True)
    assert work["root"]["outcomes"]["done"] == 1
    assert restarts == {"root": {"retired": 1}}
    assert counters.revision > revision
