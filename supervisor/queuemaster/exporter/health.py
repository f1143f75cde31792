"""Whether we live, and whether we are of use: what probes ask. Pure: reasons in plain words, none when all is well."""

from __future__ import annotations

from collections.abc import Iterable

from .snapshot import STALE, Situation


def ailing(master_age: float) -> list[str]:
    """Why somebody may restart us: the master's loop does not turn. A worker or a database is no reason."""
    if master_age < STALE:
        return []
    return [f"the master's loop has not turned for {master_age:.0f} s"]


def unready(situation: Situation | None, databases: Iterable[str]) -> list[str]:
    """Why no job would start here, or for us elsewhere."""
    if situation is None:
        return ["the master is starting"]
    reasons = ailing(situation.master_age)
    if situation.master["phase"] != "running":
        reasons.append(f"the service is {situation.master['phase']}")
    if not situation.dispatcher_up or situation.dispatcher is None:
        return [*reasons, "the dispatcher does not run"]
    known = situation.dispatcher["databases"]
    for name in databases:
        if name in known and known[name]["standing"] == "not served":
            continue  # of Odoo's databases some have no queue, and nobody misses one there
        if name not in known or not known[name]["up"]:
            reasons.append(f"database {name}: no connection")
        elif not (known[name]["leader"] or known[name]["standing_by"]):
            reasons.append(f"database {name}: nobody leads")
    return reasons
