"""How long a worker goes on with one grant."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from queuejobs.shared.messages import Grant, SliceTerms
from queuejobs.store.claims import Run
from queuejobs.worker.runtimes import grant_use
from queuejobs.worker.runtimes.grant_use import GrantUse


class Surroundings:
    """A stand-in for the worker, with the answers that a test sets."""

    def __init__(self) -> None:
        self.off = False
        self.worn_at = 1000

    def draining(self) -> bool:
        return False

    def called_off(self) -> bool:
        return self.off

    def worn_out(self, jobs_run: int) -> bool:
        return jobs_run >= self.worn_at

    def claimed(self, job: int) -> None:
        pass


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=100.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(grant_use, "time", clock)
    return clock


def use_of(terms: SliceTerms | None, orders: Surroundings | None = None) -> GrantUse:
    return GrantUse(Grant(1, 0, 1, "root", None, None, 1, terms), orders or Surroundings())


def test_a_grant_without_a_slice_is_for_one_job(clock: SimpleNamespace) -> None:
    use = use_of(None)
    use.jobs_run = 1
    assert not use.may_go_on()


def test_a_slice_ends_by_its_number_of_jobs_and_by_its_time(clock: SimpleNamespace) -> None:
    use = use_of(SliceTerms(0.5, 3, None))
    use.jobs_run = 2
    assert use.may_go_on()
    use.jobs_run = 3
    assert not use.may_go_on()
    use.jobs_run, clock.now = 2, 100.4
    assert use.may_go_on()
    clock.now = 100.5
    assert not use.may_go_on()


def test_what_is_said_meanwhile_ends_it(clock: SimpleNamespace) -> None:
    orders = Surroundings()
    use = use_of(SliceTerms(0.5, 64, None), orders)
    use.jobs_run = 1
    assert use.may_go_on()
    orders.off = True
    assert not use.may_go_on()


def test_a_worker_that_has_done_enough_ends_it(clock: SimpleNamespace) -> None:
    orders = Surroundings()
    orders.worn_at = 2
    use = use_of(SliceTerms(0.5, 64, None), orders)
    use.jobs_run = 1
    assert use.may_go_on()
    use.jobs_run = 2
    assert not use.may_go_on()


def test_the_bounds_of_a_slice_are_the_grants(clock: SimpleNamespace) -> None:
    key, until = (1, "2026", 5), (2, "2026", 9)
    grant = Grant(1, 0, 3, "root.a", None, key, 1, SliceTerms(0.5, 64, until))
    assert GrantUse(grant, Surroundings()).bounds == (3, "root.a", key, until)


def test_the_next_run_is_handed_out_once(clock: SimpleNamespace) -> None:
    use = use_of(None)
    use.next_run = Run(7, 1)
    assert (use.take_next_run(), use.take_next_run()) == (Run(7, 1), None)
