"""What probes are answered: the reasons why the service is not alive or not ready, none when all is well. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from queuejobs.shared.standing import Standing

from .snapshot import STALE, Snapshot


def ailing(master_age: float) -> list[str]:
    """Why the service may be restarted: the master's loop does not turn. A worker or a database is no reason."""
    if master_age < STALE:
        return []
    return [f"the master's loop has not turned for {master_age:.0f} s"]


def unready(snapshot: Snapshot | None, databases: Iterable[str]) -> list[str]:
    """Why jobs of these databases would not start, whether this supervisor or another one leads them."""
    if snapshot is None:
        return ["the master is starting"]
    reasons = ailing(snapshot.master_age)
    if snapshot.master["phase"] != "running":
        reasons.append(f"the service is {snapshot.master['phase']}")
    if not snapshot.dispatcher_up or snapshot.dispatcher is None:
        return [*reasons, "the dispatcher does not run"]
    known = snapshot.dispatcher["databases"]
    for name in databases:
        if name in known and known[name]["standing"] == Standing.NOT_SERVED:
            continue  # a database of Odoo without the addon has no queue
        if name not in known or not known[name]["up"]:
            reasons.append(f"database {name}: no connection")
        elif not (known[name]["leader"] or known[name]["standing_by"]):
            reasons.append(f"database {name}: nobody leads")
    return reasons
