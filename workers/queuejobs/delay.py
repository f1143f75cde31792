"""``with_delay``, ``delayable``, ``group`` and ``chain``: method calls that are kept instead of made."""

from __future__ import annotations

import logging
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Union
from uuid import uuid4

from . import properties as props
from . import run_inline
from .enqueue import Call, description, prepare
from .environment import Environment
from .graph import Chain, Composite, Group, Node, Wired, wire
from .identity import Unit
from .job import Job
from .recordset import Recordset
from .storage import store

_logger = logging.getLogger(__name__)


class Delayable(Node):
    """A call to be. Calling a method of its recordset on it captures the call; ``delay()`` stores it.

    Every method but ``split`` and ``delay`` returns the delayable itself.
    """

    def __init__(self, records: Recordset, **properties: Any) -> None:
        super().__init__()
        self._records = records
        self._given: Dict[str, Any] = {}
        self._call: Optional[Call] = None
        self._generated_job: Optional[Job] = None
        self._is_used = False
        self.set(**properties)

    def set(self, *mappings: Mapping[str, Any], **properties: Any) -> Delayable:
        """Set properties, as keywords or as a dict; an unknown one is ``ValueError``."""
        given = dict(self._given)
        for mapping in mappings:
            given.update(mapping)
        given.update(properties)
        props.parse(given)
        self._given = given
        return self

    def split(self, size: int, chain: bool = False) -> Union[DelayableGroup, DelayableChain]:
        """The same call for every ``size`` records, as a group, or as a chain.

        A string as identity key gets the number of the chunk appended; what comes after this comes
        after all of them. ``ValueError`` without a method.
        """
        call = self._require_call("split()")
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"split({size!r}): expected how many records a job is to get, at least 1")
        text = self._given.get("description") or description(call)
        chunks = [self._records[start : start + size] for start in range(0, len(self._records), size)]
        parts = []
        for number, records in enumerate(chunks, start=1):
            part = Delayable(records, **self._given)
            part._call = Call(records, call.method_name, call.args, call.kwargs)
            part._given["description"] = f"{text} (split {number}/{len(chunks)})"
            key = self._given.get("identity_key")
            if isinstance(key, str) and key:
                part._given["identity_key"] = f"{key}-{number}"
            parts.append(part)
        whole = DelayableChain(*parts) if chain else DelayableGroup(*parts)
        whole._followers = self._followers
        self._is_used = True
        return whole

    def delay(self) -> Job:
        """Store the job, and the graph that hangs on it, in the transaction of its environment."""
        return self._records.env.delay_many([self])[0]  # type: ignore[no-any-return]

    def _require_call(self, what: str) -> Call:
        if self._call is None:
            raise ValueError(f"{self!r} has no method to run: call one on it before {what}")
        return self._call

    def __getattr__(self, method_name: str) -> Callable[..., Delayable]:
        if method_name.startswith("_") and "_records" not in self.__dict__:
            raise AttributeError(method_name)  # asked of a half-made copy
        records = self._records
        require_method(records, method_name)

        def capture(*args: Any, **kwargs: Any) -> Delayable:
            self._call = Call(records, method_name, args, kwargs)
            return self

        return capture

    def __del__(self) -> None:
        # read from __dict__: the constructor may have failed half way
        if not self.__dict__.get("_is_used", True):
            _logger.warning("%r was prepared but never delayed", self)

    def __repr__(self) -> str:
        call = self.__dict__.get("_call")
        method = f".{call.method_name}" if call else ""
        return f"Delayable({self.__dict__.get('_records')!r}{method})"


class _Whole(Composite):
    def delay(self) -> List[Job]:
        """Store all jobs and edges in the transaction of their environment; the jobs, parents first.

        The whole must be the top of its graph: what it is a part of is not stored along.
        """
        first = next((node for node in wire(self).vertices), None)
        return [] if first is None else first._records.env.delay_many([self])[0]


class DelayableGroup(_Whole, Group):
    """See :func:`group`."""


class DelayableChain(_Whole, Chain):
    """See :func:`chain`."""


def group(*members: Node) -> DelayableGroup:
    """Members that may run at the same time; what follows starts when, and only when, all are done."""
    return DelayableGroup(*members)


def chain(*members: Node) -> DelayableChain:
    """Members that run one after the other."""
    return DelayableChain(*members)


class DelayProxy:
    """What ``with_delay()`` returns: calling a method of the recordset on it stores a job at once."""

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
    """Store what hangs on each of ``tops``. For a delayable its job, for a group or chain all of its jobs.

    A job that was not stored since its identity is taken is the one that has it. In a graph whose every
    identity is taken nothing is stored: its jobs without identity do not exist.
    """
    tops = list(tops)
    graphs = [wire(top) for top in tops]
    _refuse_mixed(graphs)
    units = [_unit(graph) for graph in graphs]
    _refuse_strangers(env, graphs)
    waiting = []
    for graph, unit in zip(graphs, units):
        if any(run_inline.is_bypassed(vertex._records.env) for vertex in graph.vertices):
            run_inline.run(unit)
        else:
            waiting.append(unit)
    found = store(env, waiting)
    for graph, unit in zip(graphs, units):
        for vertex, job in zip(graph.vertices, unit.jobs):
            vertex._generated_job = found.get(job.uuid, job)
    return [
        [vertex._generated_job for vertex in graph.vertices if vertex._generated_job is not None]
        if isinstance(top, Composite)
        else top._generated_job  # type: ignore[attr-defined]
        for top, graph in zip(tops, graphs)
    ]


def _unit(graph: Wired[Delayable]) -> Unit:
    graph_uuid = str(uuid4()) if len(graph.vertices) > 1 else None
    jobs = []
    for vertex in graph.vertices:
        vertex._is_used = True  # it was tried: the error, if there is one, says enough
        job = prepare(vertex._require_call("delay()"), props.parse(vertex._given))
        job._row["graph_uuid"] = graph_uuid
        job.given = vertex._given
        jobs.append(job)
    for _, child in graph.edges:
        jobs[child]._row["state"] = "wait_dependencies"
    return Unit(jobs, graph.edges)


def _refuse_mixed(graphs: Sequence[Wired[Delayable]]) -> None:
    seen: Dict[int, int] = {}
    for number, graph in enumerate(graphs):
        for vertex in graph.vertices:
            if vertex._generated_job is not None:
                raise ValueError(
                    f"{vertex!r} was delayed already, as job {vertex._generated_job.uuid}: a stored graph"
                    " cannot be a part of another one"
                )
            if seen.setdefault(id(vertex), number) != number:
                raise ValueError(f"{vertex!r} is part of two graphs: make them one with group() or chain()")


def _refuse_strangers(env: Environment, graphs: Sequence[Wired[Delayable]]) -> None:
    # one transaction stores them: another connection's caller would never commit or roll back his
    connection = getattr(env.cr, "connection", None)
    for graph in graphs:
        for vertex in graph.vertices:
            if getattr(vertex._records.env.cr, "connection", None) is not connection:
                raise ValueError(
                    f"{vertex!r} belongs to another database connection than what it is stored with"
                )
