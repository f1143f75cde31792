"""What a person may do to a job by hand. Functions of the schema do it, and check that it applies."""

from __future__ import annotations

from typing import Any, Dict, NamedTuple, Optional, Tuple

from ..shared.job_state import JobState


class Action(NamedTuple):
    """``statement`` takes a uuid, and a result where there is one; it returns the state afterwards."""

    statement: str
    applies_to: Tuple[str, ...]  # the states that it changes
    leads_to: Tuple[str, ...]  # the states afterwards, where it was carried out or not needed


def _values(*states: JobState) -> Tuple[str, ...]:
    return tuple(state.value for state in states)


CANCEL = Action(
    "select queuemaster.cancel_job(%(uuid)s)",
    _values(
        JobState.WAIT_DEPENDENCIES, JobState.PENDING, JobState.ENQUEUED, JobState.STARTED, JobState.FAILED
    ),
    _values(JobState.CANCELLED, JobState.STARTED),  # started: its run is being stopped
)
REQUEUE = Action(
    "select queuemaster.requeue_job(%(uuid)s)",
    _values(JobState.FAILED, JobState.DONE, JobState.CANCELLED),
    _values(JobState.PENDING, JobState.WAIT_DEPENDENCIES),
)
DONE = Action(
    "select queuemaster.set_job_done(%(uuid)s, %(result)s)",
    _values(
        JobState.WAIT_DEPENDENCIES, JobState.PENDING, JobState.ENQUEUED, JobState.FAILED, JobState.CANCELLED
    ),
    _values(JobState.DONE),
)
ACTIONS: Dict[str, Action] = {"cancel": CANCEL, "requeue": REQUEUE, "done": DONE}


def act(cr: Any, name: str, uuid: str, result: Optional[str] = None) -> Optional[str]:
    """Carry out an action, one of :data:`ACTIONS`; the job's state afterwards, None when there is no such job."""
    cr.execute(ACTIONS[name].statement, {"uuid": uuid, "result": result})
    state: Optional[str] = cr.fetchone()[0]
    return state


def refusal(name: str, uuid: str, state: str) -> Optional[str]:
    """Why an action that left a job in ``state`` did nothing, and what is possible; None: done, or not needed."""
    action = ACTIONS[name]
    if state in action.leads_to:
        return None
    possible = [other for other, candidate in ACTIONS.items() if state in candidate.applies_to]
    return (
        f"job {uuid} is {state}: {name} is for jobs that are {', '.join(action.applies_to)};"
        f" possible now: {', '.join(possible) or 'nothing'}"
    )
