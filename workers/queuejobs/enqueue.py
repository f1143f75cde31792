"""Make the job of a delayed call, ready to be stored, from its properties, its declaration and the defaults."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Tuple
from uuid import uuid4

from .encoding import encode, encode_call
from .functions import find_method, of_class
from .job import Job
from .properties import DEFAULT_MAX_RETRIES, DEFAULT_PRIORITY, Properties, checked_text, storable
from .recordset import Recordset
from .shared.job_state import JobState
from .store.jobs import CORE

_LONGEST_CALL = 2000
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Call:
    """A call of a method of a recordset that was captured instead of being made."""

    records: Recordset
    method_name: str
    args: Tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def __str__(self) -> str:
        arguments = [repr(value) for value in self.args]
        arguments += [f"{name}={value!r}" for name, value in self.kwargs.items()]
        return f"{self.records!r}.{self.method_name}({', '.join(arguments)})"


def prepare(call: Call, properties: Properties) -> Job:
    """The job of a call, not stored yet.

    ``TypeError`` for an argument that cannot be encoded, ``ValueError`` for an identity key that is not text.
    """
    records, env = call.records, call.records.env
    function = of_class(type(records), call.method_name)
    args, kwargs = encode_call(call.args, call.kwargs)
    row: Dict[str, Any] = {
        "uuid": str(uuid4()),
        "graph_uuid": None,
        "user_id": env.user_id,
        "company_id": env.company_id,
        "name": properties.description or description(call),
        "model_name": records._name,
        "method_name": call.method_name,
        "records": encode(records),
        "args": args,
        "kwargs": kwargs,
        "func_string": _shortened(storable(str(call))),
        "state": JobState.PENDING.value,
        "priority": DEFAULT_PRIORITY if properties.priority is None else properties.priority,
        "eta": None if properties.eta is None else properties.eta.isoformat(),
        "eta_seconds": properties.eta_seconds,
        "max_retries": DEFAULT_MAX_RETRIES if properties.max_retries is None else properties.max_retries,
        "channel_method_name": f"<{records._name}>.{call.method_name}",
        "channel": properties.channel or function.channel or "root",
        "identity_key": None,
        "timeout": function.timeout if properties.timeout is None else properties.timeout,
        "cpu": function.cpu if properties.cpu is None else properties.cpu,
        "memory": function.memory if properties.memory is None else properties.memory,
        "on_fail": function.on_fail_method is not None,
    }
    job = Job(env, row, (records, call.args, dict(call.kwargs)))
    key = properties.identity_key
    if callable(key):
        key = key(job)
    if key:
        job._row["identity_key"] = checked_text("identity_key", key)
    job.extra.update(_extra_values(records, job))
    return job


def _extra_values(records: Recordset, job: Job) -> Dict[str, Any]:
    values = dict(records._job_store_values(job))
    specific = getattr(records, f"_job_store_values_for_{job.method_name}", None)
    if specific is not None:
        values.update(specific(job))
    ignored = sorted(set(values) & CORE)
    if ignored:
        names = ", ".join(ignored)
        _logger.warning("values for %s of %s are ignored: the queue's own", names, job.func_string)
    return {name: value for name, value in values.items() if name not in CORE}


def description(call: Call) -> str:
    """The job's name for people: the first line of the method's docstring, else model and method."""
    documented: Optional[str] = find_method(type(call.records), call.method_name).__doc__
    lines = (documented or "").strip().splitlines()
    return lines[0].strip() if lines else f"{call.records._name}.{call.method_name}"


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_CALL else text[: _LONGEST_CALL - 1] + "…"
