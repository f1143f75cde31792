"""What a person may do to a job by hand: calls of the functions that guard it, and what their answers mean."""

from __future__ import annotations

from typing import Any, Dict, NamedTuple, Optional, Tuple


class Action(NamedTuple):
    """``statement`` takes a uuid, and a result where there is one; its answer is the state afterwards."""

    statement: str
    applies_to: Tuple[str, ...]  # the states that it changes
    leads_to: Tuple[str, ...]  # the answers of one that was carried out, or that was not needed


CANCEL = Action(
    "select queuemaster.cancel_job(%(uuid)s)",
    ("wait_dependencies", "pending", "enqueued", "started", "failed"),
    ("cancelled", "started"),  # started: its run is being stopped
)
REQUEUE = Action(
    "select queuemaster.requeue_job(%(uuid)s)",
    ("failed", "done", "cancelled"),
    ("pending", "wait_dependencies"),
)
DONE = Action(
    "select queuemaster.set_job_done(%(uuid)s, %(result)s)",
    ("wait_dependencies", "pending", "enqueued", "failed", "cancelled"),
    ("done",),
)
ACTIONS: Dict[str, Action] = {"cancel": CANCEL, "requeue": REQUEUE, "done": DONE}


def act(cr: Any, name: str, uuid: str, result: Optional[str] = None) -> Optional[str]:
    """Carry out an action; the state afterwards, None when there is no such job."""
    cr.execute(ACTIONS[name].statement, {"uuid": uuid, "result": result})
    state: Optional[str] = cr.fetchone()[0]
    return state


def refusal(name: str, uuid: str, state: str) -> Optional[str]:
    """Why an action that left a job in ``state`` did nothing, and what may be done; None when it succeeded."""
    action = ACTIONS[name]
    if state in action.leads_to:
        return None
    possible = [other for other, its in ACTIONS.items() if state in its.applies_to]
    return (
        f"job {uuid} is {state}: {name} is for jobs that are {', '.join(action.applies_to)};"
        f" possible now: {', '.join(possible) or 'nothing'}"
    )
