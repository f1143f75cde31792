"""A reference of what becomes of a graph of jobs: no database, no processes, one thing after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

LIVE = ("wait_dependencies", "pending")


@dataclass(frozen=True)
class Node:
    """``kind``: how its job behaves; ``parents``: numbers of earlier nodes."""

    # "fine", "retrying", "tired" (uses up its tries), "broken" (fails until it is repaired),
    # "held" (would run for ever, and is cancelled while it does)
    kind: str
    parents: frozenset[int]


@dataclass(frozen=True)
class Act:
    """Something that a person does to one job; ``repair`` makes it good before."""

    name: str  # "cancel", "requeue", "done", "repair and requeue"
    node: int


@dataclass
class Model:
    """The states that the jobs of a graph must be in."""

    nodes: Sequence[Node]
    states: list[str] = field(init=False)
    effects: Counter[int] = field(default_factory=Counter)
    repaired: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.states = ["wait_dependencies" if node.parents else "pending" for node in self.nodes]

    def settle(self) -> None:
        """Everything runs that can."""
        while "pending" in self.states:
            number = self.states.index("pending")
            node = self.nodes[number]
            if node.kind == "held":
                self.act(Act("cancel", number))
            elif node.kind == "tired" or (node.kind == "broken" and number not in self.repaired):
                self.states[number] = "failed"
            else:
                self.effects[number] += 1
                self._get_done(number)

    def act(self, act: Act) -> None:
        """What the state forbids changes nothing."""
        number, state = act.node, self.states[act.node]
        if act.name == "cancel" and state in (*LIVE, "failed"):
            self.states[number] = "cancelled"
            for below in self._descendants(number):
                if self.states[below] == "wait_dependencies":
                    self.states[below] = "cancelled"
        elif act.name == "done" and state != "done":
            self._get_done(number)
        elif act.name.endswith("requeue"):
            if act.name.startswith("repair"):
                self.repaired.add(number)
            if state not in LIVE:
                self.states[number] = "pending" if self._is_free(number) else "wait_dependencies"

    def _get_done(self, number: int) -> None:
        self.states[number] = "done"
        for child, node in enumerate(self.nodes):
            if number in node.parents and self.states[child] == "wait_dependencies" and self._is_free(child):
                self.states[child] = "pending"

    def _is_free(self, number: int) -> bool:
        return all(self.states[parent] == "done" for parent in self.nodes[number].parents)

    def _descendants(self, number: int) -> set[int]:
        # parents have smaller numbers than their children
        descendants: set[int] = set()
        for child in range(number + 1, len(self.nodes)):
            if self.nodes[child].parents & (descendants | {number}):
                descendants.add(child)
        return descendants
