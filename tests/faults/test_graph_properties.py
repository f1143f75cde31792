"""Random graphs with failures, retries and operators' actions end as a reference model says, under kill -9.

GRAPH_EXAMPLES=N runs N random graphs for each number of workers; the default is a few graphs, always the same.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import modelapp  # noqa: F401 - registers the model that is delayed here
import psutil
import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from queuejobs import Job, JobError, group
from support.graph_model import Act, Model, Node
from support.supervised import PATIENCE, Queue, Supervised, queue, supervised
from support.waiting import wait_until

EXAMPLES = int(os.environ.get("GRAPH_EXAMPLES", "0"))
KINDS = ["fine", "fine", "fine", "fine", "retrying", "broken", "tired"]
OPTIONS = ["--log-level", "INFO", "--set", "poison_after=0"]  # a kill may hit any job any number of times
QUIET = (
    "select not exists (select from queuemaster.queue_job where state in ('pending', 'enqueued', 'started'))"
)


@st.composite
def graphs(draw: st.DrawFn) -> list[Node]:
    count = draw(st.integers(1, 200))
    # parents are given as distances, so that each part of a graph is a graph too
    distances = st.frozensets(st.integers(1, 40), max_size=3)
    drawn = draw(st.lists(st.tuples(st.sampled_from(KINDS), distances), min_size=count, max_size=count))
    return [
        Node(kind, frozenset(number - far for far in parents if far <= number))
        for number, (kind, parents) in enumerate(drawn)
    ]


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Node], list[list[Act]]]:
    """A graph, and the actions on it: at first, and each time when no job runs any more."""
    nodes = draw(graphs())
    for number in draw(st.frozensets(st.integers(0, len(nodes) - 1), min_size=1, max_size=3)):
        nodes[number] = Node("held", nodes[number].parents)
    act = st.builds(
        Act,
        st.sampled_from(["cancel", "requeue", "done", "repair and requeue", "repair and requeue"]),
        st.integers(0, len(nodes) - 1),
    )
    few, many = st.lists(act, max_size=3), st.lists(act, max_size=len(nodes) // 4 + 3)
    return nodes, [draw(few), draw(many), draw(many)]


@pytest.mark.timeout(600 + 30 * EXAMPLES)
@pytest.mark.parametrize("workers", [1, 8])
def test_any_graph_ends_as_the_model_says(database: str, tmp_path: Path, workers: int) -> None:
    killed: list[int] = []
    stopped: Counter[bool] = Counter()

    @settings(
        max_examples=EXAMPLES or 12,
        derandomize=not EXAMPLES,
        deadline=None,
        database=None,
        # The times of the kills cannot be repeated, so a smaller graph that passes proves nothing.
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    @given(cases())
    def check(case: tuple[list[Node], list[list[Act]]]) -> None:
        nodes, rounds = case
        jobs.rows("truncate queuemaster.queue_job, queuemaster.queue_job_edge, effect, repaired")
        model = Model(nodes)
        stored = store(jobs, nodes, rounds[0], model)
        for acts in ([], *rounds[1:]):
            carry_out(jobs, stored, acts, model)
            model.settle()
            wait_until(
                lambda: stop_held(jobs, stopped) and jobs.value(QUIET),
                2 * PATIENCE, lambda: f"the graph to come to rest, but: {jobs.states()}",
            )  # fmt: skip
            compare(jobs, stored, nodes, model)

    with queue(database) as jobs:
        jobs.rows("create table repaired (number integer)")
        jobs.rows("select pg_advisory_lock(4711, 1)")
        with (
            supervised(database, tmp_path, f"root:{workers}", OPTIONS, app="modelapp") as running,
            killing(running, killed),
        ):
            check()
        assert "sweep repaired" not in running.log
    assert len(killed) >= 5, "too few workers were killed: the test proves nothing"
    assert stopped[False], "no job was cancelled in its first run"
    assert stopped[True], "no job was cancelled in a run after a kill"


def store(jobs: Queue, nodes: Sequence[Node], acts: Sequence[Act], model: Model) -> list[Job]:
    """Store a graph, which may consist of several parts, and act on it before any of its jobs can start."""
    delayables: list[Any] = [
        jobs.env["vertex"]
        .browse(number)
        .delayable(max_retries=2 if node.kind == "tired" else 0)
        .run(node.kind)
        for number, node in enumerate(nodes)
    ]
    for number, node in enumerate(nodes):
        for parent in node.parents:
            delayables[parent].on_done(delayables[number])
    tops = [delayables[number] for number, node in enumerate(nodes) if not node.parents]
    with transaction(jobs):
        group(*tops).delay()
        stored: list[Job] = [delayable._generated_job for delayable in delayables]
        perform(jobs, stored, acts, model)
    return stored


def carry_out(jobs: Queue, stored: Sequence[Job], acts: Sequence[Act], model: Model) -> None:
    """Perform the actions in one transaction, so that no job starts between two of them."""
    with transaction(jobs):
        perform(jobs, stored, acts, model)


def stop_held(jobs: Queue, stopped: Counter[bool]) -> bool:
    """Cancel running jobs that would never end; every other one only after a kill, when it runs again."""
    running = jobs.rows(
        "select uuid, attempt > 1 from queuemaster.queue_job where state = 'started' and not cancel_requested"
        " and args::jsonb ->> 0 = 'held' and (attempt > 1 or id % 2 = 0)"
    )
    for uuid, after_kill in running:
        jobs.rows("select queuemaster.cancel_job(%s)", (uuid,))
        stopped[after_kill] += 1
    return True


def perform(jobs: Queue, stored: Sequence[Job], acts: Sequence[Act], model: Model) -> None:
    for act in acts:
        note(f"{act} on {model.states[act.node]}")
        model.act(act)
        if act.name.startswith("repair"):
            jobs.rows("insert into repaired values (%s)", (act.node,))
        job = stored[act.node]
        change = {"cancel": job.cancel, "done": job.set_done}.get(act.name, job.requeue)
        with contextlib.suppress(JobError):  # the job's state forbids the action, and the model agrees
            change()


@contextlib.contextmanager
def transaction(jobs: Queue) -> Iterator[None]:
    jobs.rows("begin")
    yield
    jobs.rows("commit")


def compare(jobs: Queue, stored: Sequence[Job], nodes: Sequence[Node], model: Model) -> None:
    stored_states = dict(jobs.rows("select uuid, state from queuemaster.queue_job"))
    states = [stored_states[job.uuid] for job in stored]
    wrong = {
        number: f"{nodes[number]} is {is_}, expected {expected}"
        for number, (is_, expected) in enumerate(zip(states, model.states, strict=True))
        if is_ != expected
    }
    assert not wrong
    assert Counter(jobs.effects()) == model.effects, "each run that was done left its effect once"


@contextlib.contextmanager
def killing(running: Supervised, killed: list[int]) -> Iterator[None]:
    """SIGKILL a random worker from time to time."""
    over = threading.Event()
    dice = random.Random(1)

    def kill() -> None:
        while not over.wait(dice.uniform(0.05, 0.4)):
            workers = running.children("worker")
            with contextlib.suppress(IndexError, psutil.NoSuchProcess):
                victim = dice.choice(workers)
                victim.kill()
                killed.append(victim.pid)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
