"""Resident memory of our processes, by role."""

from __future__ import annotations

import resource
from collections import Counter

from queuemaster.status_board import MasterStatus

_PAGE = resource.getpagesize()


def resident(master: MasterStatus) -> dict[str, int]:
    """Bytes; of workers the sum, in which what they share with the template counts each time."""
    pids = [("master", master["pid"])]
    pids += [(role, child["pid"]) for role, child in master["children"].items()]
    pids += [("worker", worker["pid"]) for worker in master["workers"] if worker["state"] != "dead"]
    found = Counter({role: 0 for role in ("master", "template", "dispatcher", "exporter", "worker")})
    for role, pid in pids:
        if pid:
            found[role] += _resident(pid)
    return dict(found)


def _resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as stream:
            return int(stream.read().split()[1]) * _PAGE
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return 0
