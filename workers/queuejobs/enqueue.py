"""From delayed calls to rows: what is stored with a job, and one INSERT for any number of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple
from uuid import uuid4

from .encoding import encode, encode_call
from .environment import Environment
from .functions import find_method, of_class
from .job import Job
from .properties import DEFAULT_MAX_RETRIES, DEFAULT_PRIORITY, Properties, checked_text, storable
from .recordset import Recordset
from .store import jobs as statements

_LONGEST_CALL = 2000


@dataclass(frozen=True)
class Call:
    """A captured call."""

    records: Recordset
    method_name: str
    args: Tuple[Any, ...]
    kwargs: Mapping[str, Any]


def prepare(call: Call, properties: Properties) -> Job:
    """The job of a call as it would be stored; errors of its arguments show here."""
    records, env = call.records, call.records.env
    function = of_class(type(records), call.method_name)
    args, kwargs = encode_call(call.args, call.kwargs)
    row: Dict[str, Any] = {
        "uuid": str(uuid4()),
        "graph_uuid": None,
        "user_id": env.user_id,
        "company_id": env.company_id,
        "name": properties.description or _description(call),
        "model_name": records._name,
        "method_name": call.method_name,
        "records": encode(records),
        "args": args,
        "kwargs": kwargs,
        "func_string": _call_text(call),
        "state": "pending",
        "priority": DEFAULT_PRIORITY if properties.priority is None else properties.priority,
        "eta": None if properties.eta is None else properties.eta.isoformat(),
        "eta_seconds": properties.eta_seconds,
        "max_retries": DEFAULT_MAX_RETRIES if properties.max_retries is None else properties.max_retries,
        "channel_method_name": f"<{records._name}>.{call.method_name}",
        "channel": properties.channel or function.channel or "root",
        "identity_key": None,
        "timeout": function.timeout if properties.timeout is None else properties.timeout,
    }
    job = Job(env, row, (records, call.args, dict(call.kwargs)))
    key = properties.identity_key
    if callable(key):
        key = key(job)
    if key:
        job._row["identity_key"] = checked_text("identity_key", key)
    return job


def store(env: Environment, jobs: Sequence[Job]) -> List[Job]:
    """Store prepared jobs with one INSERT; in place of one whose identity is taken, the job that has it."""
    if not jobs:
        return []
    cr = statements.plain_cursor(env.cr)
    stored = _insert(cr, jobs)
    twins = [job for job in jobs if job.uuid not in stored]
    found: Dict[str, Job] = {}
    while twins:
        rows = statements.by_identity(cr, {job.identity_key for job in twins})
        known = [job for job in twins if job.identity_key in rows]
        found.update({job.uuid: Job(env, rows[job.identity_key]) for job in known})
        # one that started between the two statements has left its key free
        stored.update(_insert(cr, [job for job in twins if job.identity_key not in rows]))
        twins = [job for job in twins if job.uuid not in stored and job.uuid not in found]
    return [found.get(job.uuid, job) for job in jobs]


def _insert(cr: Any, jobs: Sequence[Job]) -> Dict[str, Any]:
    if not jobs:
        return {}
    stored = statements.insert(cr, [{name: job._row[name] for name in statements.GIVEN} for job in jobs])
    for job in jobs:
        if job.uuid in stored:
            values = zip(("id", "eta", "date_created"), stored[job.uuid])
            job._row.update(values, retry=0, attempt=0)
    return stored


def _description(call: Call) -> str:
    documented: Optional[str] = find_method(type(call.records), call.method_name).__doc__
    lines = (documented or "").strip().splitlines()
    return lines[0].strip() if lines else f"{call.records._name}.{call.method_name}"


def _call_text(call: Call) -> str:
    shown = [repr(value) for value in call.args]
    shown += [f"{name}={value!r}" for name, value in call.kwargs.items()]
    text = storable(f"{call.records!r}.{call.method_name}({', '.join(shown)})")
    return text if len(text) <= _LONGEST_CALL else text[: _LONGEST_CALL - 1] + "…"
