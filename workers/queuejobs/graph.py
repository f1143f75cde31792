"""Graphs of jobs: nodes go in, vertices in order and the edges between them come out. Pure, and without recursion.

A node is a delayable, a group or a chain. The heads of a node are the delayables that start when it starts, its
tails those that must be done before anything that follows it starts. A delayable is its own head and tail. A group
has the heads and tails of all its members, a chain the heads of its first and the tails of its last member. Members
that contain no delayable are passed over.
"""

from __future__ import annotations

from typing import Any, Dict, Generic, Iterable, Iterator, List, Sequence, Set, Tuple, TypeVar

Self = TypeVar("Self", bound="Node")
Vertex = TypeVar("Vertex", bound="Node")
Edge = Tuple[int, int]  # positions of a parent and of its child among the vertices


class Node:
    """A delayable, a group or a chain."""

    _members: Tuple[Node, ...] = ()
    _is_empty = False

    def __init__(self) -> None:
        self._followers: List[Node] = []

    def on_done(self: Self, *nodes: Node) -> Self:
        """Start ``nodes`` when this node is done: a chain with its last member, a group with all. Returns itself.

        ``TypeError`` for anything but delayables, groups and chains.
        """
        _check(nodes, "on_done")
        self._followers.extend(nodes)
        return self

    def _heads(self) -> Iterator[Node]:
        return _ends(self, 0)

    def _tails(self) -> Iterator[Node]:
        return _ends(self, -1)


class Composite(Node):
    """Base of groups and chains."""

    def __init__(self, *members: Node) -> None:
        super().__init__()
        _check(members, type(self).__name__.lower())
        self._members = members
        self._wired = tuple(member for member in members if not member._is_empty)
        self._is_empty = not self._wired


class Wired(Generic[Vertex]):
    """A graph as :func:`wire` finds it: the delayables, parents before their children, and the edges between them."""

    def __init__(self, vertices: Sequence[Vertex], edges: Sequence[Edge]) -> None:
        self.vertices = vertices
        self.edges = edges


def wire(top: Node) -> Wired[Any]:
    """The graph of all members and followers of ``top``. ``ValueError`` for a cycle and for a self-dependency."""
    nodes = list(_reachable(top))
    vertices = [node for node in nodes if not isinstance(node, Composite)]
    position = {id(vertex): index for index, vertex in enumerate(vertices)}
    edges: Set[Edge] = set()
    for before, after in _sequences(nodes):
        tails = [position[id(tail)] for tail in before._tails()]
        for head in after._heads():
            child = position[id(head)]
            edges.update((parent, child) for parent in tails)
    looped = next((parent for parent, child in edges if parent == child), None)
    if looped is not None:
        raise ValueError(f"{vertices[looped]!r} depends on itself")
    order = _topological(vertices, edges)
    rank = {vertex: index for index, vertex in enumerate(order)}
    return Wired(
        [vertices[index] for index in order], sorted((rank[parent], rank[child]) for parent, child in edges)
    )


def _check(nodes: Iterable[Any], caller: str) -> None:
    for node in nodes:
        if not isinstance(node, Node):
            raise TypeError(f"{caller}() takes delayables, groups and chains, not {node!r}")


def _reachable(top: Node) -> Iterator[Node]:
    stack, seen = [top], {id(top)}
    while stack:
        node = stack.pop()
        yield node
        for neighbour in reversed((*node._members, *node._followers)):
            if id(neighbour) not in seen:
                seen.add(id(neighbour))
                stack.append(neighbour)


def _sequences(nodes: Iterable[Node]) -> Iterator[Tuple[Node, Node]]:
    """Pairs of nodes of which the second starts when the first is done."""
    for node in nodes:
        if isinstance(node, Chain):
            yield from zip(node._wired, node._wired[1:])
        for follower in node._followers:
            yield node, follower


def _ends(node: Node, side: int) -> Iterator[Node]:
    """The heads of a node for ``side`` 0, its tails for -1."""
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
    """Positions of the vertices, parents first, by Kahn's algorithm; level by level in the order of ``vertices``."""
    children: Dict[int, List[int]] = {}
    parents_left = [0] * len(vertices)
    for parent, child in sorted(edges):
        children.setdefault(parent, []).append(child)
        parents_left[child] += 1
    order = [index for index, count in enumerate(parents_left) if not count]
    for index in order:  # the loop appends to the list that it walks
        for child in children.get(index, ()):
            parents_left[child] -= 1
            if not parents_left[child]:
                order.append(child)
    if len(order) < len(vertices):
        stuck = [repr(vertices[index]) for index, count in enumerate(parents_left) if count]
        shown = ", ".join(stuck[:5]) + (", …" if len(stuck) > 5 else "")
        raise ValueError(f"these jobs would wait for one another in a cycle: {shown}")
    return order


class Group(Composite):
    """Members that may run at the same time."""


class Chain(Composite):
    """Members that run one after the other."""
