"""Graphs: which job waits for which, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queuejobs.graph import Chain, Group, Node, wire


class Leaf(Node):
    def __init__(self, name: str = "leaf") -> None:
        super().__init__()
        self.name = name

    def __repr__(self) -> str:
        return self.name


def waits(top: Node) -> set[tuple[str, str]]:
    """The edges as (parent, child) names."""
    wired = wire(top)
    return {(wired.vertices[parent].name, wired.vertices[child].name) for parent, child in wired.edges}


def leaves(names: str) -> list[Leaf]:
    return [Leaf(name) for name in names]


def test_a_chain_is_a_sequence() -> None:
    assert waits(Chain(*leaves("abc"))) == {("a", "b"), ("b", "c")}


def test_what_follows_a_group_waits_for_all_of_it() -> None:
    a, b, c, d = leaves("abcd")
    assert waits(Chain(Group(a, b), Group(c, d))) == {("a", "c"), ("a", "d"), ("b", "c"), ("b", "d")}


def test_nested_chains_start_with_their_head_and_end_with_their_tail() -> None:
    # the addon would start a at once …
    p, a, b, c = leaves("pabc")
    assert waits(Chain(p, Chain(Chain(a, b), c))) == {("p", "a"), ("a", "b"), ("b", "c")}
    # … and would let p wait for c instead of d
    a, b, c, d, p = leaves("abcdp")
    assert waits(Chain(a, Chain(b, Chain(c, d)), p)) == {("a", "b"), ("b", "c"), ("c", "d"), ("d", "p")}


def test_on_done_hangs_on_the_tail_of_a_chain_and_on_all_of_a_group() -> None:
    a, b, x = leaves("abx")
    assert waits(Chain(a, b).on_done(x)) == {("a", "b"), ("b", "x")}
    a, b, x, y = leaves("abxy")
    assert waits(Group(a, b).on_done(x, y)) == {("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")}
    a, b, c = leaves("abc")
    assert waits(a.on_done(b.on_done(c))) == {("a", "b"), ("b", "c")}


def test_parents_come_before_their_children() -> None:
    a, b, c, d = leaves("abcd")
    assert [leaf.name for leaf in wire(Chain(Group(a, Chain(b, c)), d)).vertices] == ["a", "b", "c", "d"]


def test_empty_members_are_passed_over() -> None:
    a, b = leaves("ab")
    assert waits(Chain(Group(), a, Chain(Group(), Group()), b, Group())) == {("a", "b")}
    assert wire(Group()).vertices == []
    x = Leaf("x")
    assert [leaf.name for leaf in wire(Chain(Group().on_done(x), Leaf("a"))).vertices] == ["x", "a"]


def test_what_depends_on_itself_is_refused() -> None:
    a = Leaf("a")
    a.on_done(a)
    with pytest.raises(ValueError, match="a depends on itself"):
        wire(a)
    twice = Chain(a := Leaf("b"), a)
    with pytest.raises(ValueError, match="b depends on itself"):
        wire(twice)


def test_a_cycle_is_refused_and_named() -> None:
    top, a, b, c = leaves("tabc")
    top.on_done(a.on_done(b.on_done(c.on_done(a))))
    with pytest.raises(ValueError, match="in a cycle: a, b, c"):
        wire(top)


@pytest.mark.parametrize("wrong", ["x", None, [Leaf()], Leaf])
def test_only_nodes_can_be_joined(wrong: Any) -> None:
    with pytest.raises(TypeError, match="takes delayables, groups and chains"):
        Chain(wrong)
    with pytest.raises(TypeError, match="takes delayables, groups and chains"):
        Leaf().on_done(wrong)


@pytest.mark.parametrize("shape", [Chain, Group])
def test_ten_thousand_jobs_and_ten_thousand_levels_need_no_recursion(shape: Any) -> None:
    assert len(wire(shape(*(Leaf() for _ in range(10_000)))).vertices) == 10_000
    left: Node = Leaf()
    right: Node = Leaf()
    followed = last = Leaf()
    for _ in range(10_000):
        left, right = shape(left, Leaf()), shape(Leaf(), right)
        following = Leaf()
        last.on_done(following)
        last = following
    for top in (left, right, followed):
        wired = wire(top)
        assert len(wired.vertices) == 10_001
        if shape is Chain or top is followed:
            assert len(wired.edges) == 10_000


Shape = tuple[bool, list[Any]] | None
shapes: st.SearchStrategy[Shape] = st.recursive(
    st.none(), lambda inner: st.tuples(st.booleans(), st.lists(inner, max_size=4)), max_leaves=25
)


def build(shape: Shape, path: tuple[int, ...], paths: dict[str, tuple[int, ...]]) -> Node:
    if shape is None:
        leaf = Leaf(str(len(paths)))
        paths[leaf.name] = path
        return leaf
    is_chain, members = shape
    parts = [build(member, (*path, index), paths) for index, member in enumerate(members)]
    return Chain(*parts) if is_chain else Group(*parts)


def composite_at(shape: Shape, path: tuple[int, ...]) -> bool:
    for index in path:
        assert shape is not None
        shape = shape[1][index]
    assert shape is not None
    return shape[0]


@settings(max_examples=300)
@given(shapes)
def test_one_waits_for_another_only_if_the_innermost_whole_of_both_is_a_chain(shape: Shape) -> None:
    paths: dict[str, tuple[int, ...]] = {}
    wired = wire(build(shape, (), paths))
    names = [leaf.name for leaf in wired.vertices]
    assert sorted(names) == sorted(paths)

    before: dict[str, set[str]] = {name: set() for name in names}
    # edges are sorted by parent, so that a parent's own set is complete when it is used
    for parent, descendant in wired.edges:
        before[names[descendant]] |= before[names[parent]] | {names[parent]}

    for child in names:
        expected = set()
        for other in names:
            pairs = list(zip(paths[other], paths[child], strict=False))
            fork = next(
                (depth for depth, (branch, other_branch) in enumerate(pairs) if branch != other_branch), None
            )
            is_earlier = fork is not None and pairs[fork][0] < pairs[fork][1]
            if is_earlier and composite_at(shape, paths[child][:fork]):
                expected.add(other)
        assert before[child] == expected
