"""Resident memory of our processes, by role."""

from __future__ import annotations

from collections import Counter

from queuejobs.shared.linux import resident_memory
from queuemaster.status_board import MasterStatus


def resident(master: MasterStatus) -> dict[str, int]:
    """Resident bytes by role. Pages that workers share with the template are counted for each of them."""
    pids = [("master", master["pid"])]
    pids += [(role, child["pid"]) for role, child in master["children"].items()]
    pids += [("worker", worker["pid"]) for worker in master["workers"] if worker["state"] != "dead"]
    bytes_by_role = Counter({role: 0 for role in ("master", "template", "dispatcher", "exporter", "worker")})
    for role, pid in pids:
        if pid:
            bytes_by_role[role] += resident_memory(pid)
    return dict(bytes_by_role)
