"""Graphs of jobs: what may start when. Pure: nodes in, vertices in order and edges out; no recursion.

A node is a delayable, a group or a chain. Its heads are what starts when the node starts, its tails what
must be done before anything after it starts: of a group those of all members, of a chain the heads of its
first and the tails of its last member, and so on inwards. Members without any job are passed over.
"""

from __future__ import annotations

from typing import Any, Dict, Generic, Iterable, Iterator, List, Sequence, Set, Tuple, TypeVar

Self = TypeVar("Self", bound="Node")
Vertex = TypeVar("Vertex", bound="Node")
Edge = Tuple[int, int]  # positions of a parent and of its child among the vertices


class Node:
    """Something that can be delayed."""

    _members: Tuple[Node, ...] = ()
    _is_empty = False

    def __init__(self) -> None:
        self._followers: List[Node] = []

    def on_done(self: Self, *nodes: Node) -> Self:
        """Have these start when this is done (a chain: its end; a group: all of it). Returns itself."""
        _check(nodes, "on_done")
        self._followers.extend(nodes)
        return self

    def _heads(self) -> Iterator[Node]:
        return _ends(self, 0)

    def _tails(self) -> Iterator[Node]:
        return _ends(self, -1)


class Composite(Node):
    """What groups and chains have in common."""

    def __init__(self, *members: Node) -> None:
        super().__init__()
        _check(members, type(self).__name__.lower())
        self._members = members
        self._wired = tuple(member for member in members if not member._is_empty)
        self._is_empty = not self._wired


class Wired(Generic[Vertex]):
    """The outcome: vertices, parents before their children, and the edges between them."""

    def __init__(self, vertices: Sequence[Vertex], edges: Sequence[Edge]) -> None:
        self.vertices = vertices
        self.edges = edges


def wire(top: Node) -> Wired[Any]:
    """Everything that hangs on ``top``. ``ValueError`` for a cycle and for what depends on itself."""
    nodes = list(_reachable(top))
    vertices = [node for node in nodes if not isinstance(node, Composite)]
    position = {id(vertex): index for index, vertex in enumerate(vertices)}
    edges: Set[Edge] = set()
    for before, after in _sequences(nodes):
        tails = [position[id(tail)] for tail in before._tails()]
        for head in after._heads():
            child = position[id(head)]
            edges.update((parent, child) for parent in tails)
    own = next((parent for parent, child in edges if parent == child), None)
    if own is not None:
        raise ValueError(f"{vertices[own]!r} depends on itself")
    order = _topological(vertices, edges)
    place = {vertex: index for index, vertex in enumerate(order)}
    return Wired(
        [vertices[index] for index in order], sorted((place[parent], place[child]) for parent, child in edges)
    )


def _check(nodes: Iterable[Any], where: str) -> None:
    for node in nodes:
        if not isinstance(node, Node):
            raise TypeError(f"{where}() takes delayables, groups and chains, not {node!r}")


def _reachable(top: Node) -> Iterator[Node]:
    stack, seen = [top], {id(top)}
    while stack:
        node = stack.pop()
        yield node
        for other in reversed((*node._members, *node._followers)):
            if id(other) not in seen:
                seen.add(id(other))
                stack.append(other)


def _sequences(nodes: Iterable[Node]) -> Iterator[Tuple[Node, Node]]:
    """Pairs of which the second starts when the first is done."""
    for node in nodes:
        if isinstance(node, Chain):
            yield from zip(node._wired, node._wired[1:])
        for follower in node._followers:
            yield node, follower


def _ends(node: Node, side: int) -> Iterator[Node]:
    stack = [node]
    while stack:
        node = stack.pop()
        if isinstance(node, Chain):
            stack.extend(node._wired[side:][:1])
        elif isinstance(node, Composite):
            stack.extend(reversed(node._wired))
        else:
            yield node


def _topological(vertices: Sequence[Node], edges: Iterable[Edge]) -> List[int]:
    """Kahn's order; among what is free, the order of ``vertices``, level by level."""
    children: Dict[int, List[int]] = {}
    waits = [0] * len(vertices)
    for parent, child in sorted(edges):
        children.setdefault(parent, []).append(child)
        waits[child] += 1
    order = [index for index, count in enumerate(waits) if not count]
    for index in order:  # grows while it is walked
        for child in children.get(index, ()):
            waits[child] -= 1
            if not waits[child]:
                order.append(child)
    if len(order) < len(vertices):
        stuck = [repr(vertices[index]) for index, count in enumerate(waits) if count]
        shown = ", ".join(stuck[:5]) + (", …" if len(stuck) > 5 else "")
        raise ValueError(f"these jobs would wait for one another in a cycle: {shown}")
    return order


class Group(Composite):
    """Members that may run at the same time."""


class Chain(Composite):
    """Members that run one after the other."""
