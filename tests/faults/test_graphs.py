"""Graphs with many parents and many workers: every child is released, and nothing deadlocks."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import modelapp  # noqa: F401 - registers the model that is delayed here
import pytest

from queuejobs import group
from support.supervised import Queue, queue, supervised

pytestmark = pytest.mark.timeout(300)


def run(jobs: Queue, database: str, directory: Path, expected: int) -> None:
    before = deadlocks(jobs)
    with supervised(database, directory, "root:8", ["--log-level", "INFO"], app="modelapp") as running:
        jobs.wait_until_drained()
        assert "sweep repaired" not in running.log, (
            "the sweep had to release children that their parents should have released"
        )
    assert jobs.states() == {"done": expected}
    assert len(jobs.effects()) == len(set(jobs.effects())) == expected
    assert deadlocks(jobs) == before
    # a deadlock that the server resolved would have cost a job a try
    assert jobs.value("select max(attempt) from queuemaster.queue_job") == 1


def deadlocks(jobs: Queue) -> int:
    jobs.rows("select pg_stat_clear_snapshot()")
    return int(jobs.value("select deadlocks from pg_stat_database where datname = current_database()"))


def test_a_fan_in_of_five_hundred(database: str, tmp_path: Path) -> None:
    with queue(database) as jobs:
        model = jobs.env["shown"]
        parents = list(range(1, 501))
        top = group(*(model.browse(number).delayable().write() for number in parents))
        top.on_done(model.browse(501).delayable().follow(*parents))
        top.delay()
        run(jobs, database, tmp_path, 501)


def test_layers_whose_children_are_shared_in_opposite_orders(database: str, tmp_path: Path) -> None:
    """Each job has six parents in the layer above, which name their children in random orders."""
    width, depth = 16, 12
    dice = random.Random(3)
    with queue(database) as jobs:
        model = jobs.env["shown"]
        layers = [[row * width + column for column in range(width)] for row in range(depth)]
        nodes: dict[int, Any] = {number: model.browse(number).delayable() for number in layers[0]}
        for node in nodes.values():
            node.write()
        for above, below in pairwise(layers):
            children: dict[int, list[int]] = {number: [] for number in above}
            for number in below:
                parents = dice.sample(above, 6)
                nodes[number] = model.browse(number).delayable().follow(*parents)
                for parent in parents:
                    children[parent].append(number)
            for turn, (parent, its) in enumerate(children.items()):
                dice.shuffle(its)
                nodes[parent].on_done(*(nodes[number] for number in (its if turn % 2 else reversed(its))))
        group(*(nodes[number] for number in layers[0])).delay()
        run(jobs, database, tmp_path, width * depth)
