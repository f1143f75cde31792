"""How a database settles a worker's death: sessions that block it, and which job is charged."""

from __future__ import annotations

import pytest

from queuejobs.shared.process import Process
from queuejobs.store import recovery
from queuejobs.store.recovery import Blame
from queuemaster.dispatcher.recovery import FIRST_DELAY, LONGEST_DELAY, Case, Death, Recovery

PROCESS = Process("host", "boot", 4711, 1)
BLAME = Blame(7, 2, "worker 4711 died: SIGSEGV")


def death(entry: int = 1, database: int = 0, blame: Blame | None = BLAME) -> Death:
    return Death(entry, 1, PROCESS, database, blame)


def test_a_case_is_closed_when_no_session_stands_in_the_way() -> None:
    case = Case(death())
    assert not case.note_try({11: None, 12: 1}, now=100.0)
    assert (case.sessions, case.due) == ([11], 100.0 + FIRST_DELAY)
    assert not case.note_try({11: None}, now=101.0)
    assert case.due == 101.0 + 2 * FIRST_DELAY
    assert case.note_try({11: 2}, now=102.0)
    assert case.put_back == 3


def test_a_process_without_sessions_has_nothing_to_settle() -> None:
    case = Case(death())
    assert case.note_try({}, now=1.0)
    assert case.put_back == 0


def test_it_is_tried_again_within_a_second_for_ever() -> None:
    case = Case(death())
    for _ in range(20):
        assert not case.note_try({11: None}, now=0.0)
    assert case.due == LONGEST_DELAY


@pytest.mark.parametrize(
    ("blame", "expected", "elsewhere"),
    [
        (BLAME, BLAME, None),
        (BLAME._replace(job=0), BLAME._replace(job=0), BLAME._replace(job=0)),
        (None, None, None),
    ],
    ids=["a job is named", "the one that it was claiming", "an interruption"],
)
def test_a_job_is_charged_in_its_own_database(
    blame: Blame | None, expected: Blame | None, elsewhere: Blame | None
) -> None:
    case = Case(death(database=0, blame=blame))
    assert case.blame(0) == expected
    assert case.blame(1) == elsewhere


def test_a_death_that_is_reported_twice_is_one_case() -> None:
    cases = Recovery(0, "db")
    assert cases.due() is None
    for entry in (1, 1, 2):
        cases.add(death(entry))
    assert cases.due() == 0.0
    assert cases.drop() == [death(1), death(2)]
    assert cases.due() is None


def test_cases_are_worked_on_when_they_are_due(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: dict[int, list[int | None]] = {11: [None, 1]}
    looked_up: list[Process] = []

    def sessions_of(_cursor: object, process: Process) -> list[int]:
        looked_up.append(process)
        return [11]

    monkeypatch.setattr(recovery, "sessions_of", sessions_of)
    monkeypatch.setattr(recovery, "recover", lambda _cursor, worker, _blame: answers[worker].pop(0))
    cases = Recovery(0, "db")
    cases.add(death())
    assert cases.work(None, 10.0) == []
    assert cases.due() == 10.0 + FIRST_DELAY
    assert cases.work(None, 10.0) == [], "the case is not due yet"
    assert answers == {11: [1]}
    assert cases.work(None, 11.0) == [death()]
    assert cases.due() is None
    assert looked_up == [PROCESS], "the process is looked up once for each case"
