"""Identity keys: at most one job of a key waits to run. What decides is pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import AbstractSet, Dict, List, Mapping, Optional, Sequence, Set, Tuple

from .graph import Edge
from .job import Job


@dataclass(frozen=True)
class Unit:
    """The jobs of one ``delay()``, parents before children, and their edges as positions."""

    jobs: Sequence[Job]
    edges: Sequence[Edge] = ()


@dataclass(frozen=True)
class Plan:
    """What to store, and what is there already."""

    units: Sequence[Unit]
    keyless: AbstractSet[str]  # uuids of those that are stored without their key
    found: Mapping[str, Optional[Job]]  # by uuid of a job that is not stored: the one that has its key


def identity_exact(job: Job) -> str:
    """As ``identity_key``: the same call is the same job.

    sha1 over model, method, sorted ids, arguments and sorted keyword arguments.
    """
    kwargs = json.loads(job._row["kwargs"])
    parts = [job.model_name, job.method_name, sorted(job.records.ids, key=str), json.loads(job._row["args"])]
    text = json.dumps([*parts, sorted(kwargs.items())], sort_keys=True)
    return hashlib.sha1(text.encode("ascii")).hexdigest()


def plan(units: Sequence[Unit], live: Mapping[str, Job], busy: AbstractSet[str]) -> Plan:
    """Decide by the jobs that are live (``live``, by key), unit by unit: all of it or nothing.

    A unit whose every job *with a key* is there is not stored. Of any other everything is stored; a job
    whose key is taken, or ``busy`` (an open transaction may take it), gives up its key, never its run.
    """
    holders: Dict[str, Job] = dict(live)
    stored: List[Unit] = []
    keyless: Set[str] = set()
    found: Dict[str, Optional[Job]] = {}
    for unit in units:
        keyed: List[Tuple[str, Job]] = [(job.identity_key, job) for job in unit.jobs if job.identity_key]
        if keyed and all(key in holders for key, _ in keyed):
            found.update((job.uuid, holders.get(job.identity_key)) for job in unit.jobs)
            continue
        stored.append(unit)
        for key, job in keyed:
            if key in busy or key in holders:
                keyless.add(job.uuid)
            else:
                holders[key] = job
    return Plan(stored, keyless, found)
