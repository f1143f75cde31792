"""Support for an application's tests: catch delayed jobs in memory, check them, and run them.

    with trap_jobs() as trap:
        order.confirm()
        trap.assert_jobs_count(1, only=order.send_mail)
        trap.assert_enqueued_job(order.send_mail, args=("a@b",), properties={"priority": 5})
        trap.perform_enqueued_jobs()

No test framework is needed: an expectation that does not hold is an ``AssertionError``.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

import psycopg2

from . import run_inline, storage
from .enqueue import Call
from .environment import Environment
from .identity import JobGraph, plan
from .job import Job
from .recordset import Recordset
from .storage import ExistingJobs

Method = Union[str, Callable[..., Any]]


@dataclass(frozen=True)
class EnqueuedCall(Call):
    """A delayed call: ``records``, ``method_name``, ``args``, ``kwargs`` and ``properties`` as the caller gave them."""

    properties: Mapping[str, Any]

    def __str__(self) -> str:
        properties = ", ".join(f"{name}={value!r}" for name, value in self.properties.items())
        return f"{super().__str__()} with {properties or 'no properties'}"


class JobsTrap:
    """The jobs delayed inside :func:`trap_jobs`: ``enqueued_jobs`` that were not run yet, and all ``calls`` so far."""

    def __init__(self) -> None:
        self.enqueued_jobs: List[Job] = []
        self.calls: List[EnqueuedCall] = []
        self._jobs: List[Job] = []  # the job of each call, in the same order
        self._graphs: List[JobGraph] = []

    def jobs_count(self) -> int:
        """How many jobs are in the trap and were not run yet."""
        return len(self.enqueued_jobs)

    def assert_jobs_count(
        self,
        expected: int,
        only: Optional[Callable[..., Any]] = None,
        model: Optional[str] = None,
        method: Optional[str] = None,
    ) -> None:
        """Check that exactly ``expected`` jobs are in the trap; ``AssertionError`` lists the calls.

        Counted are all jobs, those of one method (``only=records.method``), or those of the named ``model`` or
        ``method``.
        """
        if only is not None:
            records, method = _bound(only)
            model = records._name
        count = sum(
            model in (None, job.model_name) and method in (None, job.method_name)
            for job in self.enqueued_jobs
        )
        if count != expected:
            target = ".".join(part for part in (model, method) if part)
            raise AssertionError(
                f"expected {expected} jobs{f' of {target}' if target else ''}, found {count}; {self._listed()}"
            )

    def assert_enqueued_job(
        self,
        method: Method,
        method_name: Optional[str] = None,
        args: Optional[Sequence[Any]] = None,
        kwargs: Optional[Mapping[str, Any]] = None,
        properties: Optional[Mapping[str, Any]] = None,
    ) -> None:
        """Check that a call was delayed: ``(records.method, args=…)`` or ``("model.name", "method", args=…)``.

        With a bound method, the call's records, ``args`` and ``kwargs`` must be equal (default: no arguments). By
        name, any records match, and so do any arguments where ``args`` or ``kwargs`` is left out. Of the
        properties only those in ``properties`` are compared. ``AssertionError`` lists the calls, ``TypeError``
        if no method is named.
        """
        if isinstance(method, str):
            if method_name is None:
                raise TypeError(f"assert_enqueued_job({method!r}): expected the name of a method as well")
            records, model = None, method
        else:
            records, method_name = _bound(method)
            model, args, kwargs = records._name, args or (), kwargs or {}
        expected = properties or {}
        for call, job in zip(self.calls, self._jobs):
            if (
                (call.records._name, call.method_name) == (model, method_name)
                and (records is None or call.records == records)
                and (args is None or list(call.args) == list(args))
                and (kwargs is None or dict(call.kwargs) == dict(kwargs))
                and all(_has(call, job, name, value) for name, value in expected.items())
            ):
                return
        details = {"args": args, "kwargs": kwargs, "properties": properties}
        expectation = ", ".join(f"{name}={value!r}" for name, value in details.items() if value is not None)
        target = f"{model if records is None else repr(records)}.{method_name}"
        raise AssertionError(f"{target} was not enqueued with {expectation or 'anything'}; {self._listed()}")

    def perform_enqueued_jobs(self) -> None:
        """Run the jobs in the trap, in this process and transaction. An error of a job goes to the caller.

        Single jobs run first, by priority, then graphs, each in the order of its dependencies. Jobs that
        these jobs delay stay in the trap until the next call.
        """
        trapped, self._graphs, self.enqueued_jobs = self._graphs, [], []
        singles = [graph for graph in trapped if len(graph.jobs) == 1]
        graphs = [graph for graph in trapped if len(graph.jobs) > 1]
        for graph in (*sorted(singles, key=lambda single: int(single.jobs[0].priority)), *graphs):
            for job in graph.jobs:
                run_inline.perform(job)

    def _take(self, env: Environment, graphs: Sequence[JobGraph]) -> ExistingJobs:
        live = {job.identity_key: job for job in self.enqueued_jobs if job.identity_key}
        planned = plan(graphs, live, frozenset())
        for graph in planned.graphs:
            self._graphs.append(graph)
            for job in graph.jobs:
                if job.uuid in planned.keyless:
                    job._row["identity_key"] = None
                self.enqueued_jobs.append(job)
                self._jobs.append(job)
                self.calls.append(EnqueuedCall(job.records, job.method_name, job.args, job.kwargs, job.given))
        return planned.existing

    def _listed(self) -> str:
        if not self.calls:
            return "nothing was enqueued"
        return "enqueued were:" + "".join(f"\n * {call}" for call in self.calls)


@contextmanager
def trap_jobs(env: Optional[Environment] = None) -> Iterator[JobsTrap]:
    """Inside the ``with`` block, jobs that this process delays go to the trap and not to the database.

    ``env`` is not used: jobs of all environments are trapped. Traps nest, and the innermost one gets the jobs.
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
    """A cursor and an environment on a new connection to the same database, to see what another transaction sees.

    ``cr.commit()`` keeps what was written with it; everything else is rolled back at the end of the block.
    """
    connection = env.cr.connection
    parameters: Dict[str, Any] = connection.get_dsn_parameters()
    password = connection.info.password  # get_dsn_parameters() leaves it out
    second = psycopg2.connect(**parameters, **({"password": password} if password else {}))
    try:
        second_env = Environment(second, env.user_id, env.company_id, env.context, env.su)
        yield second_env.cr, second_env
    finally:
        second.close()


def _bound(method: Callable[..., Any]) -> Tuple[Recordset, str]:
    records = getattr(method, "__self__", None)
    if not isinstance(records, Recordset):
        raise TypeError(
            f"{method!r} is not a method of records: pass it as records.method, without calling it"
        )
    return records, method.__name__


def _has(call: EnqueuedCall, job: Job, name: str, value: Any) -> bool:
    """Whether a property has the value: as the caller gave it, or as it was stored (complete channel, default)."""
    if name in call.properties and call.properties[name] == value:
        return True
    stored = job.description if name == "description" else getattr(job, name, None)
    return bool(name not in ("eta", "scheduled_at") and stored == value)
