"""``with_delay``, ``delayable``, ``group`` and ``chain``: method calls that become jobs instead of being made."""

from __future__ import annotations

import logging
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Union
from uuid import uuid4

from . import properties as props
from . import run_inline
from .enqueue import Call, description, prepare
from .environment import Environment
from .graph import Chain, Composite, Group, Node, Wired, wire
from .identity import JobGraph
from .job import Job
from .recordset import Recordset
from .shared.job_state import JobState
from .storage import store

_logger = logging.getLogger(__name__)


class Delayable(Node):
    """A call that is not stored yet: calling a method of its recordset captures the call, ``delay()`` stores it.

    Every method but ``split`` and ``delay`` returns the delayable itself.
    """

    def __init__(self, records: Recordset, **properties: Any) -> None:
        super().__init__()
        self._records = records
        self._properties: Dict[str, Any] = {}
        self._call: Optional[Call] = None
        self._generated_job: Optional[Job] = None
        self._is_used = False
        self.set(**properties)

    def set(self, *mappings: Mapping[str, Any], **properties: Any) -> Delayable:
        """Set properties of the job, as keywords or as dicts; see :meth:`Model.with_delay` for their names.

        ``ValueError`` for an unknown property or a wrong value; then nothing is set.
        """
        merged = dict(self._properties)
        for mapping in mappings:
            merged.update(mapping)
        merged.update(properties)
        props.parse(merged)
        self._properties = merged
        return self

    def split(self, size: int, chain: bool = False) -> Union[DelayableGroup, DelayableChain]:
        """The same call on chunks of ``size`` records each, as a group, or as a chain if ``chain`` is true.

        An identity key that is a string gets the number of the chunk appended. Whatever was to follow this
        delayable follows all of the chunks. ``ValueError`` if no method was called on it, or ``size`` is below 1.
        """
        call = self._require_call("split()")
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"split({size!r}): expected the number of records per job, at least 1")
        text = self._properties.get("description") or description(call)
        chunks = [self._records[start : start + size] for start in range(0, len(self._records), size)]
        parts = []
        for number, records in enumerate(chunks, start=1):
            part = Delayable(records, **self._properties)
            part._call = Call(records, call.method_name, call.args, call.kwargs)
            part._properties["description"] = f"{text} (split {number}/{len(chunks)})"
            key = self._properties.get("identity_key")
            if isinstance(key, str) and key:
                part._properties["identity_key"] = f"{key}-{number}"
            parts.append(part)
        composite = DelayableChain(*parts) if chain else DelayableGroup(*parts)
        composite._followers = self._followers
        self._is_used = True
        return composite

    def delay(self) -> Job:
        """Store the job, with all jobs that follow it, in the transaction of its environment.

        Returns the job, or the job that has its identity key already. ``ValueError`` if no method was called on
        the delayable, if it was stored before, and for a cycle; ``TypeError`` for arguments that cannot be stored.
        """
        return self._records.env.delay_many([self])[0]  # type: ignore[no-any-return]

    def _require_call(self, wanted_by: str) -> Call:
        if self._call is None:
            raise ValueError(f"{self!r} has no method to run: call one on it before {wanted_by}")
        return self._call

    def __getattr__(self, method_name: str) -> Callable[..., Delayable]:
        # copy and pickle look up attributes of an object whose __init__ has not run
        if method_name.startswith("_") and "_records" not in self.__dict__:
            raise AttributeError(method_name)
        records = self._records
        require_method(records, method_name)

        def capture(*args: Any, **kwargs: Any) -> Delayable:
            self._call = Call(records, method_name, args, kwargs)
            return self

        return capture

    def __del__(self) -> None:
        # read from __dict__: __init__ may have raised before it set the attribute
        if not self.__dict__.get("_is_used", True):
            _logger.warning("%r was prepared but never delayed", self)

    def __repr__(self) -> str:
        call = self.__dict__.get("_call")
        method = f".{call.method_name}" if call else ""
        return f"Delayable({self.__dict__.get('_records')!r}{method})"


class _DelayableComposite(Composite):
    def delay(self) -> List[Job]:
        """Store all jobs and dependencies in the transaction of their environment. Returns the jobs, parents first.

        Call it on the outermost group or chain: a composite that this one is a member of is not stored with it.
        The errors are those of :meth:`Delayable.delay`.
        """
        first = next((node for node in wire(self).vertices), None)
        return [] if first is None else first._records.env.delay_many([self])[0]


class DelayableGroup(_DelayableComposite, Group):
    """See :func:`group`."""


class DelayableChain(_DelayableComposite, Chain):
    """See :func:`chain`."""


def group(*members: Node) -> DelayableGroup:
    """Delayables, groups and chains that may run at the same time; what follows them starts when all are done."""
    return DelayableGroup(*members)


def chain(*members: Node) -> DelayableChain:
    """Delayables, groups and chains that run one after the other."""
    return DelayableChain(*members)


class DelayProxy:
    """The result of ``with_delay()``: calling a method of the recordset on it stores the job at once and returns it."""

    def __init__(self, records: Recordset, **properties: Any) -> None:
        props.parse(properties)
        self._records = records
        self._properties = properties

    def __getattr__(self, method_name: str) -> Callable[..., Job]:
        require_method(self._records, method_name)

        def enqueue(*args: Any, **kwargs: Any) -> Job:
            delayable = Delayable(self._records, **self._properties)
            delayable._call = Call(self._records, method_name, args, kwargs)
            return delayable.delay()

        return enqueue


def require_method(records: Recordset, name: str) -> None:
    """``AttributeError`` unless ``name`` is a method of the recordset's model."""
    if name.startswith("__") or not callable(getattr(type(records), name, None)):
        raise AttributeError(f"only methods can be delayed: {records._name!r} has no method {name!r}")


def delay_many(env: Environment, tops: Iterable[Node]) -> List[Any]:
    """Store each of ``tops`` with everything that follows it, all in one transaction.

    Returns, in the order of ``tops``, the job of a delayable, and the list of jobs of a group or chain, parents
    first. Where every identity key of a graph is taken, nothing of the graph is stored: the job that has the key
    stands for each job with a key, and a job without key is None (in a list: left out).
    """
    tops = list(tops)
    wirings = [wire(top) for top in tops]
    _refuse_shared_vertices(wirings)
    graphs = [_job_graph(wiring) for wiring in wirings]
    _refuse_other_connections(env, wirings)
    to_store = []
    for wiring, graph in zip(wirings, graphs):
        if any(run_inline.is_bypassed(vertex._records.env) for vertex in wiring.vertices):
            run_inline.run(graph)
        else:
            to_store.append(graph)
    existing = store(env, to_store)
    for wiring, graph in zip(wirings, graphs):
        for vertex, job in zip(wiring.vertices, graph.jobs):
            vertex._generated_job = existing.get(job.uuid, job)
    return [
        [vertex._generated_job for vertex in wiring.vertices if vertex._generated_job is not None]
        if isinstance(top, Composite)
        else top._generated_job  # type: ignore[attr-defined]
        for top, wiring in zip(tops, wirings)
    ]


def _job_graph(wiring: Wired[Delayable]) -> JobGraph:
    graph_uuid = str(uuid4()) if len(wiring.vertices) > 1 else None
    jobs = []
    for vertex in wiring.vertices:
        vertex._is_used = True  # even if preparing it fails: the error says enough, no warning is needed
        job = prepare(vertex._require_call("delay()"), props.parse(vertex._properties))
        job._row["graph_uuid"] = graph_uuid
        job.given = vertex._properties
        jobs.append(job)
    for _, child in wiring.edges:
        jobs[child]._row["state"] = JobState.WAIT_DEPENDENCIES.value
    return JobGraph(jobs, wiring.edges)


def _refuse_shared_vertices(wirings: Sequence[Wired[Delayable]]) -> None:
    owners: Dict[int, int] = {}  # by id of a vertex: the position of its graph
    for number, wiring in enumerate(wirings):
        for vertex in wiring.vertices:
            if vertex._generated_job is not None:
                raise ValueError(
                    f"{vertex!r} was delayed already, as job {vertex._generated_job.uuid}: a stored graph"
                    " cannot be a part of another one"
                )
            if owners.setdefault(id(vertex), number) != number:
                raise ValueError(f"{vertex!r} is part of two graphs: make them one with group() or chain()")


def _refuse_other_connections(env: Environment, wirings: Sequence[Wired[Delayable]]) -> None:
    # all jobs are stored in one transaction: a commit or rollback on another connection would not reach them
    connection = getattr(env.cr, "connection", None)
    for wiring in wirings:
        for vertex in wiring.vertices:
            if getattr(vertex._records.env.cr, "connection", None) is not connection:
                raise ValueError(
                    f"{vertex!r} belongs to another database connection than the one that stores it"
                )
