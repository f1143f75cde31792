"""Every gate, decided from facts alone: whether it is open or shut, and which jobs and people it names."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuemaster.channels import Override, Tree, parse_channels
from queuemaster.why import gates
from queuemaster.why.answer import answer
from queuemaster.why.facts import Facts, FirstJobs, Job, Leader, OtherJob, Pool, Worker
from queuemaster.why.gates import Channels, Gate, Verdict
from queuemaster.why.naming import listed
from queuemaster.why.opening import throttled_for, without_token_for
from queuemaster.words import lasting

OPEN, SHUT, UNKNOWN = Verdict.OPEN, Verdict.SHUT, Verdict.UNKNOWN
LEADS = Leader(True, host="here", epoch=3, beat_ago=2.0)


def facts(state: str = "pending", **changes: Any) -> Facts:
    job = Job("this", "letter.write", state, "root.mail", 0, 5, 0, 3.0)
    of_job = {name: changes.pop(name) for name in tuple(changes) if name in Job.__dataclass_fields__}
    return replace(Facts("sales", replace(job, **of_job), LEADS), **changes)


def other(uuid: str, state: str = "pending", channel: str = "root.mail", **changes: Any) -> OtherJob:
    return OtherJob(uuid, "letter.write", state, channel, **changes)


def channels(text: str, *overrides: Override) -> Channels:
    return Channels(Tree(parse_channels(text).channels), {"sales": overrides})


def gate(name: str, given_facts: Facts, tree: Channels | None) -> Gate:
    return next(candidate for candidate in answer(given_facts, tree).gates if candidate.name == name)


def test_a_job_that_is_over_or_runs_has_one_gate() -> None:
    for state in ("done", "failed", "cancelled", "started"):
        result = answer(facts(state), channels("root:1"))
        assert [candidate.name for candidate in result.gates] == ["state"]
        assert not result.waits


@pytest.mark.parametrize(
    ("state", "changes", "message"),
    [
        ("done", {"ended_ago": 60.0}, "it was done 1 min ago"),
        ("cancelled", {"ended_ago": 60.0}, "it was cancelled 1 min ago; to run it after all"),
        ("failed", {"retry": 2, "max_retries": 0, "error": "E: x\ny"}, "it failed after 2 tries, E: x; when"),
        (
            "started",
            {"started_ago": 5.0, "attempt": 2, "worker": Worker(7, "here", True)},
            "it runs for 5 s: attempt 2",
        ),
        ("started", {"worker": Worker(7, "here", False)}, "the session of its worker 7 on here is gone"),
        ("started", {"worker": Worker(7, "h", True), "cancel_requested": True}, "it is being cancelled"),
        ("pending", {"unknown_for": 4.0}, "the workers do not know letter.write (for 4 s)"),
        ("pending", {"retry": 1, "error": "E: x"}, "tried 1 of 5 times, the last one: E: x"),
        (
            "pending",
            {"retry": 5, "error": "E: x", "doomed": True},
            "it has failed for good, E: x; it is not run",
        ),
        (
            "started",
            {"worker": Worker(7, "here", True), "doomed": True},
            "it has failed for good: worker 7 on here ends it",
        ),
    ],
)
def test_state(state: str, changes: dict[str, Any], message: str) -> None:
    assert message in gates.state(facts(state, **changes)).says


def test_dependencies_name_the_failed_ancestor_before_the_parents() -> None:
    parent = other("parent", "wait_dependencies")
    root, runs = other("root", "failed", error="E: x"), other("runs", "started", started_ago=3.0)
    above = gates.dependencies(
        facts("wait_dependencies", parents=FirstJobs((parent,), 1), roots=FirstJobs((root, runs), 2))
    )
    assert (above.verdict, above.holders) == (SHUT, (root,))
    assert "above them root (letter.write) failed: E: x" in above.says
    direct = gates.dependencies(
        facts("wait_dependencies", parents=FirstJobs((root,), 1), roots=FirstJobs((root,), 1))
    )
    assert "one of them root" in direct.says
    deep = gates.dependencies(
        facts("wait_dependencies", parents=FirstJobs((parent,), 1), roots=FirstJobs((runs,), 1))
    )
    assert "which waits in turn for runs (letter.write, for 3 s), started" in deep.says
    ready = other("ready")
    behind = gates.dependencies(
        facts("wait_dependencies", parents=FirstJobs((parent,), 1), roots=FirstJobs((ready,), 1))
    )
    assert behind.says.endswith("pending; queuemaster why ready")
    next_one = gates.dependencies(
        facts("wait_dependencies", parents=FirstJobs((runs,), 1), roots=FirstJobs((runs,), 1))
    )
    assert next_one.holders == (runs,)
    stranded = gates.dependencies(facts("wait_dependencies"))
    assert (stranded.verdict, "sweep" in stranded.says) == (SHUT, True)
    assert gates.dependencies(facts()).verdict is OPEN


def test_eta() -> None:
    assert gates.eta(facts()).verdict is OPEN
    assert "due in 1 min 30 s" in gates.eta(facts(eta_in=90.0)).says
    assert gates.eta(facts(eta_in=0.0)).verdict is SHUT


def test_a_slot_in_an_ancestor_counts_jobs_of_all_its_channels() -> None:
    running = (other("a", "started", "root.mail"), other("b", "started", "root.crm.lead", database="two"))
    tree = channels("root:2,mail:2,crm:2")
    shut = gate("capacity", facts(running=running), tree)
    assert (shut.verdict, shut.holders) == (SHUT, running)
    assert "all 2 slots of channel root are in use" in shut.says
    assert (
        gate("capacity", facts(running=running[:1]), tree).says
        == "slots in use: root.mail 1 of 2, root 1 of 2"
    )
    assert (
        gate("capacity", facts(), channels("root:2,mail:0")).says
        == "slots in use: root.mail 0 of any, root 0 of 2"
    )
    lowered = gate(
        "capacity", facts(running=running[:1]), channels("root:2,mail:2", Override("root.mail", 1))
    )
    assert "the slot of channel root.mail is in use" in lowered.says


def test_channel_resolution() -> None:
    assert gate("channel", facts(), channels("root:1,mail:1")).says == "channel root.mail"
    assert "runs in root, the nearest above" in gate("channel", facts(), channels("root:1")).says
    assert gate("channel", facts(), None).verdict is UNKNOWN


def test_throttle_and_rate_count_starts_below_the_channel() -> None:
    starts = (("root.mail.bulk", 4.0), ("root.other", 1.0))
    tree = channels("root:9,mail:9:throttle=10")
    assert "the next in 6 s" in gate("throttle", facts(starts=starts), tree).says
    assert gate("throttle", facts(starts=(("root.mail", 11.0),)), tree).verdict is OPEN
    tree = channels("root:9:rate=6/m,mail:9")
    assert "channel root allows 6/m starts: as far as the database knows, the next in 9 s" in (
        gate("rate", facts(starts=starts[1:]), tree).says
    )


def test_sequential() -> None:
    tree = channels("root:4,mail:1:sequential")
    failed, delayed = other("f", "failed", error="E: x"), other("d", eta_in=60.0)
    assert gate("sequential", facts(failed=(failed,), delayed=(delayed,)), tree).holders == (failed,)
    assert gate("sequential", facts(delayed=(delayed,)), tree).holders == (delayed,)
    assert gate("sequential", facts(better=FirstJobs((other("b"),), 1)), tree).verdict is SHUT
    elsewhere = other("e", "failed", "root.crm")
    assert gate("sequential", facts(failed=(elsewhere,)), tree).verdict is OPEN


def test_pause_says_by_whom() -> None:
    assert "by the configuration" in gate("pause", facts(), channels("root:1:paused,mail:1")).says
    live = gate("pause", facts(), channels("root:1,mail:1", Override("root.mail", paused=True)))
    assert (live.verdict, "live, in database sales" in live.says) == (SHUT, True)
    tree = Tree(parse_channels("root:1,mail:1").channels)
    overrides = {"sales": (Override("root.mail", 1),), "crm": (Override("root.mail", paused=True),)}
    assert "live, in database crm;" in gate("pause", facts(), Channels(tree, overrides)).says
    resumed = gate("pause", facts(), channels("root:1,mail:1:paused", Override("root.mail", paused=False)))
    assert resumed.verdict is OPEN


@pytest.mark.parametrize(
    ("leader", "verdict", "message"),
    [
        (LEADS, OPEN, "on here leads, epoch 3"),
        (Leader(False), SHUT, "no supervisor serves database sales:"),
        (Leader(False, host="far", beat_ago=90.0), SHUT, "since 1 min 30 s, when one did on far"),
        (Leader(True, True), SHUT, "about to take over"),
        (Leader(False, stock=True), SHUT, "the stock runner of the addon leads sales"),
        (replace(LEADS, beat_ago=31.0), SHUT, "not been heard of for 31 s"),
    ],
)
def test_leader(leader: Leader, verdict: Verdict, message: str) -> None:
    result = gates.leader(facts(leader=leader))
    assert result.verdict is verdict
    assert message in result.says


def test_worker() -> None:
    tree = channels("root:1,mail:1")
    dying = facts(pools={"root.mail": Pool(1, 0, 12.0)})
    assert "the next one starts in 12 s" in gate("worker", dying, tree).says
    assert gate("worker", facts(pools={"root.mail": Pool(1, 1)}), tree).says == "1 worker of root.mail"
    assert gate("worker", facts(sessions={"root.mail": 2}), tree).verdict is OPEN
    assert gate("worker", facts(sessions={"root": 2}), tree).verdict is UNKNOWN
    late = facts(created_ago=60.0)
    assert "no worker of root.mail has come for it in 1 min" in gate("worker", late, tree).says
    full = replace(late, running=(other("a", "started"),))
    assert gate("worker", full, tree).verdict is UNKNOWN


def test_what_somebody_must_do_is_told_first_and_the_rest_is_named() -> None:
    state = facts(eta_in=5.0, running=(other("a", "started"),), leader=Leader(False))
    result = answer(state, channels("root:1,mail:1:paused"))
    assert result.summary.startswith("It waits because no supervisor serves database sales")
    assert result.summary.endswith("Shut as well: pause, eta, capacity.")
    problem = answer(replace(state, schema_problem="its schema is older"), channels("root:1"))
    assert problem.summary.startswith("It waits because no supervisor of this version accepts sales")


ages = st.floats(0, 1e6, allow_nan=False)


@given(st.lists(ages), st.floats(0.01, 1e5))
def test_a_throttle_never_holds_longer_than_itself(starts: Collection[float], throttle: float) -> None:
    wait = throttled_for(starts, throttle)
    assert 0 <= wait <= throttle
    assert not wait or min(starts) + wait == pytest.approx(throttle)


@given(st.lists(ages, max_size=50), st.floats(0.001, 1000), st.integers(1, 20))
def test_a_rate_waits_for_one_token_for_each_start_beyond_the_burst(
    starts: Collection[float], rate: float, burst: int
) -> None:
    wait = without_token_for(starts, rate, burst)
    assert wait <= len(starts) / rate * (1 + 1e-6) + 1e-6
    if len(starts) < burst:
        assert wait == pytest.approx(0, abs=1e-6)


@given(ages)
def test_a_time_is_said_in_two_units_at_most(seconds: float) -> None:
    assert len(lasting(seconds).split()) in (2, 4)


def test_words() -> None:
    message = {
        0.44: "0.4 s",
        3: "3 s",
        12.4: "12 s",
        60: "1 min",
        125: "2 min 5 s",
        3600: "1 h",
        90061: "1 d 1 h",
    }
    assert {seconds: lasting(seconds) for seconds in message} == message
    assert listed([other(str(n)) for n in range(5)], 9).endswith("2 (letter.write) and 6 more")
