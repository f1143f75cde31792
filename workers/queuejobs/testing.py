"""For the tests of applications: delayed jobs are trapped in memory, looked at and run.

    with trap_jobs() as trap:
        order.confirm()
        trap.assert_jobs_count(1, only=order.send_mail)
        trap.assert_enqueued_job(order.send_mail, args=("a@b",), properties={"priority": 5})
        trap.perform_enqueued_jobs()

Nothing here needs a test framework: a wrong expectation is an ``AssertionError``.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

import psycopg2

from . import run_inline, storage
from .environment import Environment
from .identity import Unit, plan
from .job import Job
from .recordset import Recordset
from .storage import Found

Method = Union[str, Callable[..., Any]]


@dataclass(frozen=True)
class EnqueuedCall:
    """A call as it was delayed, with the properties as they were given."""

    records: Recordset
    method_name: str
    args: Tuple[Any, ...]
    kwargs: Mapping[str, Any]
    properties: Mapping[str, Any]

    def __str__(self) -> str:
        shown = [repr(value) for value in self.args]
        shown += [f"{name}={value!r}" for name, value in self.kwargs.items()]
        given = ", ".join(f"{name}={value!r}" for name, value in self.properties.items()) or "no properties"
        return f"{self.records!r}.{self.method_name}({', '.join(shown)}) with {given}"


class JobsTrap:
    """What was delayed while it is set. ``enqueued_jobs``: still to be run; ``calls``: all so far."""

    def __init__(self) -> None:
        self.enqueued_jobs: List[Job] = []
        self.calls: List[EnqueuedCall] = []
        self._jobs: List[Job] = []  # one for each call
        self._units: List[Unit] = []

    def jobs_count(self) -> int:
        """How many jobs wait in the trap."""
        return len(self.enqueued_jobs)

    def assert_jobs_count(
        self,
        expected: int,
        only: Optional[Callable[..., Any]] = None,
        model: Optional[str] = None,
        method: Optional[str] = None,
    ) -> None:
        """Exactly so many jobs wait: all, of one method (``only=records.method``), or of a model or method."""
        if only is not None:
            records, method = _bound(only)
            model = records._name
        found = [
            job
            for job in self.enqueued_jobs
            if model in (None, job.model_name) and method in (None, job.method_name)
        ]
        if len(found) != expected:
            what = ".".join(part for part in (model, method) if part)
            raise AssertionError(
                f"expected {expected} jobs{f' of {what}' if what else ''}, found {len(found)}; {self._listed()}"
            )

    def assert_enqueued_job(
        self,
        method: Method,
        method_name: Optional[str] = None,
        args: Optional[Sequence[Any]] = None,
        kwargs: Optional[Mapping[str, Any]] = None,
        properties: Optional[Mapping[str, Any]] = None,
    ) -> None:
        """A call was delayed: ``(records.method, args=…)`` or ``("model.name", "method")``.

        With a bound method the records, args and kwargs must be exactly these (none given: none), of
        the properties those that are given. By name, what is not given is not looked at.
        """
        if isinstance(method, str):
            if method_name is None:
                raise TypeError(f"assert_enqueued_job({method!r}): expected the name of a method as well")
            records, model = None, method
        else:
            records, method_name = _bound(method)
            model, args, kwargs = records._name, args or (), kwargs or {}
        wanted = properties or {}
        for call, job in zip(self.calls, self._jobs):
            if (
                (call.records._name, call.method_name) == (model, method_name)
                and (records is None or call.records == records)
                and (args is None or list(call.args) == list(args))
                and (kwargs is None or dict(call.kwargs) == dict(kwargs))
                and all(_has(call, job, name, value) for name, value in wanted.items())
            ):
                return
        details = {"args": args, "kwargs": kwargs, "properties": properties}
        shown = ", ".join(f"{name}={value!r}" for name, value in details.items() if value is not None)
        target = f"{model if records is None else repr(records)}.{method_name}"
        raise AssertionError(f"{target} was not enqueued with {shown or 'anything'}; {self._listed()}")

    def perform_enqueued_jobs(self) -> None:
        """Run what waits, in this process and transaction; an error of a job is the caller's.

        Single jobs go first, by priority, then graphs, each in the order of its dependencies. What
        these jobs delay waits in the trap for the next call.
        """
        units, self._units, self.enqueued_jobs = self._units, [], []
        singles = [unit for unit in units if len(unit.jobs) == 1]
        graphs = [unit for unit in units if len(unit.jobs) > 1]
        for unit in (*sorted(singles, key=lambda unit: int(unit.jobs[0].priority)), *graphs):
            for job in unit.jobs:
                run_inline.perform(job)

    def _take(self, env: Environment, units: Sequence[Unit]) -> Found:
        live = {job.identity_key: job for job in self.enqueued_jobs if job.identity_key}
        planned = plan(units, live, frozenset())
        for unit in planned.units:
            self._units.append(unit)
            for job in unit.jobs:
                if job.uuid in planned.keyless:
                    job._row["identity_key"] = None
                self.enqueued_jobs.append(job)
                self._jobs.append(job)
                self.calls.append(EnqueuedCall(job.records, job.method_name, job.args, job.kwargs, job.given))
        return planned.found

    def _listed(self) -> str:
        if not self.calls:
            return "nothing was enqueued"
        return "enqueued were:" + "".join(f"\n * {call}" for call in self.calls)


@contextmanager
def trap_jobs(env: Optional[Environment] = None) -> Iterator[JobsTrap]:
    """Inside, delayed jobs of every environment of this process go to the trap, not to the database.

    ``env`` is taken for the sake of callers that have it at hand. Traps nest: the inner one takes all.
    """
    trap = JobsTrap()
    sink = trap._take
    storage._sinks.append(sink)
    try:
        yield trap
    finally:
        storage._sinks.remove(sink)


@contextmanager
def external_env(env: Environment) -> Iterator[Tuple[Any, Environment]]:
    """A cursor and an environment on a connection of their own, for what another transaction sees.

    ``cr.commit()`` keeps what was done with it; the rest is rolled back at the end.
    """
    connection = env.cr.connection
    parameters: Dict[str, Any] = connection.get_dsn_parameters()
    # the parameters that can be asked for leave the password out
    password = connection.info.password
    own = psycopg2.connect(**parameters, **({"password": password} if password else {}))
    try:
        other = Environment(own, env.user_id, env.company_id, env.context, env.su)
        yield other.cr, other
    finally:
        own.close()


def _bound(method: Callable[..., Any]) -> Tuple[Recordset, str]:
    records = getattr(method, "__self__", None)
    if not isinstance(records, Recordset):
        raise TypeError(f"{method!r} is no method of records: give it as records.method, not called")
    return records, method.__name__


def _has(call: EnqueuedCall, job: Job, name: str, value: Any) -> bool:
    """A property as it was given, or as it was stored (a channel with its root, a default)."""
    if name in call.properties and call.properties[name] == value:
        return True
    stored = job.description if name == "description" else getattr(job, name, None)
    return bool(name not in ("eta", "scheduled_at") and stored == value)
