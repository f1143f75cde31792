"""All gates in turn, and one sentence that says what matters of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from queuejobs.shared.job_state import JobState

from . import gates
from .facts import Facts
from .gates import Channels, Gate, Verdict

WAITING = (JobState.WAIT_DEPENDENCIES, JobState.PENDING, JobState.ENQUEUED)

# Which gate the sentence explains when several are shut: first those that need an action, then the lasting ones.
_ORDER_OF_WEIGHT = (
    *("database", "dependencies", "leader", "pause", "sequential", "worker", "eta", "capacity", "throttle"),
    *("rate", "order"),
)
_CHANNELS_UNKNOWN = "which channels there are is not known here: name the configuration with -c or --channels"


@dataclass(frozen=True)
class Answer:
    """``waits``: the job has not started yet; else its state is the only gate."""

    waits: bool
    summary: str
    gates: tuple[Gate, ...]


def answer(facts: Facts, channels: Channels | None) -> Answer:
    """Judge all gates. ``channels`` None: the configured channels are not known."""
    state = gates.state(facts)
    if facts.job.state not in WAITING:
        return Answer(False, f"{state.says[0].upper()}{state.says[1:]}.", (state,))
    rest = [
        gates.dependencies(facts), gates.eta(facts), *_of_channels(facts, channels), gates.order(facts),
        gates.leader(facts), gates.database(facts),
    ]  # fmt: skip
    free = all(gate.verdict is not Verdict.SHUT for gate in rest)
    rest.append(gates.worker(facts, None if channels is None else channels.tree, free))
    return Answer(True, _summary(rest), (state, *rest))


def _of_channels(facts: Facts, channels: Channels | None) -> list[Gate]:
    if channels is None:
        return [Gate("channel", Verdict.UNKNOWN, _CHANNELS_UNKNOWN)]
    tree = channels.tree
    path = tree.path(tree.resolve(facts.job.channel))
    return [
        gates.channel(facts, tree), gates.capacity(facts, tree, path), gates.throttle(facts, tree, path),
        gates.rate(facts, tree, path), gates.sequential(facts, tree, path), gates.pause(channels, path),
    ]  # fmt: skip


def _summary(gates_in_turn: Iterable[Gate]) -> str:
    shut = sorted(
        (gate for gate in gates_in_turn if gate.verdict is Verdict.SHUT),
        key=lambda gate: _ORDER_OF_WEIGHT.index(gate.name),
    )
    if shut:
        besides = ", ".join(gate.name for gate in shut[1:])
        return f"It waits because {shut[0].says}." + (f" Shut as well: {besides}." if besides else "")
    unknown = ", ".join(gate.name for gate in gates_in_turn if gate.verdict is Verdict.UNKNOWN)
    if unknown:
        return f"Nothing that can be seen from here holds it. Not known: {unknown}."
    return "Nothing holds it: it may start at any moment."
