"""Identity keys: at most one job with a given key waits to run. The decision, :func:`plan`, is pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import AbstractSet, Dict, List, Mapping, Optional, Sequence, Set, Tuple

from .graph import Edge
from .job import Job


@dataclass(frozen=True)
class JobGraph:
    """The jobs of one ``delay()``, parents before children, and their dependencies. A single job is a graph of one."""

    jobs: Sequence[Job]
    edges: Sequence[Edge] = ()


@dataclass(frozen=True)
class Plan:
    """Which graphs to store, and which jobs exist already."""

    graphs: Sequence[JobGraph]
    keyless: AbstractSet[str]  # uuids of jobs that are stored without their key
    existing: Mapping[str, Optional[Job]]  # by uuid of a job that is not stored: the job that has its key


def identity_exact(job: Job) -> str:
    """A function for the property ``identity_key`` by which jobs with the same call have the same key.

    The key is the SHA-1, in hexadecimal, of model, method, sorted ids, arguments and sorted keyword arguments.
    """
    kwargs = json.loads(job._row["kwargs"])
    parts = [job.model_name, job.method_name, sorted(job.records.ids, key=str), json.loads(job._row["args"])]
    text = json.dumps([*parts, sorted(kwargs.items())], sort_keys=True)
    return hashlib.sha1(text.encode("ascii")).hexdigest()


def plan(graphs: Sequence[JobGraph], live: Mapping[str, Job], busy: AbstractSet[str]) -> Plan:
    """Decide for each graph whether to store it, as a whole or not at all, given the unfinished jobs by their key.

    A graph is not stored if it has jobs with keys and all of these keys are in ``live``. Any other graph is
    stored completely: a job whose key is in ``live``, or in ``busy`` (an open transaction may take it), is
    stored without its key, since running twice is better than not at all.
    """
    holders: Dict[str, Job] = dict(live)
    stored: List[JobGraph] = []
    keyless: Set[str] = set()
    existing: Dict[str, Optional[Job]] = {}
    for graph in graphs:
        keyed: List[Tuple[str, Job]] = [(job.identity_key, job) for job in graph.jobs if job.identity_key]
        if keyed and all(key in holders for key, _ in keyed):
            existing.update((job.uuid, holders.get(job.identity_key)) for job in graph.jobs)
            continue
        stored.append(graph)
        for key, job in keyed:
            if key in busy or key in holders:
                keyless.add(job.uuid)
            else:
                holders[key] = job
    return Plan(stored, keyless, existing)
