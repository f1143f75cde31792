"""The channel tree: a job's channel, its limits, and how many workers are kept ready."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuemaster.channels import Tree, parse_channels
from queuemaster.channels.channel import ChannelConfig
from queuemaster.channels.tree import INHERITED


def tree(text: str) -> Tree:
    return Tree(parse_channels(text).channels)


@pytest.mark.parametrize(
    ("stored", "runs_in"),
    [
        ("root", "root"),
        ("", "root"),
        ("root.sale", "root.sale"),
        ("sale", "root.sale"),
        ("sale.mail", "root.sale.mail"),
        ("sale.mail.bulk.night", "root.sale.mail"),
        ("sale.other", "root.sale"),
        ("salesman", "root"),
        ("rooted", "root"),
        ("root.", "root"),
        ("mail", "root"),
    ],
)
def test_a_job_runs_in_the_nearest_configured_channel(stored: str, runs_in: str) -> None:
    assert tree("root:9,sale:4,sale.mail:2").resolve(stored) == runs_in


def test_the_path_leads_to_the_root() -> None:
    assert tree("root:9,a.b:2").path("root.a.b") == ("root.a.b", "root.a", "root")


def test_effective_is_the_least_capacity_of_the_path() -> None:
    channels = tree("root:5,a:8,a.b:3,a.b.c:4,d.e:2,f:0")
    assert {name: channels.effective(name) for name in channels.names} == {
        "root": 5,
        "root.a": 5,
        "root.a.b": 3,
        "root.a.b.c": 3,
        "root.d": 5,
        "root.d.e": 2,
        "root.f": 5,
    }


def test_pools_have_the_effective_capacity_or_what_prefork_says() -> None:
    sizes = tree("root:6,a:2,b:9,c:4:prefork=1,d:4:prefork=9,e:3:paused,e.f:2").pool_sizes(64)
    assert list(sizes.values()) == [6, 2, 6, 1, 4, 0, 0]


def test_scarce_workers_go_round() -> None:
    channels = tree("root:4,a:1,b:3")
    assert channels.pool_sizes(2) == {"root": 1, "root.a": 1, "root.b": 0}
    assert channels.pool_sizes(5) == {"root": 2, "root.a": 1, "root.b": 2}
    assert channels.pool_sizes(7) == {"root": 3, "root.a": 1, "root.b": 3}


@given(capacities=st.lists(st.integers(0, 9), min_size=1, max_size=30), workers=st.integers(0, 70))
def test_pools_never_exceed_the_workers_nor_leave_one_unused(capacities: list[int], workers: int) -> None:
    channels = [ChannelConfig("root", 9)] + [ChannelConfig(f"root.{i}", c) for i, c in enumerate(capacities)]
    sizes = Tree(channels).pool_sizes(workers)
    demands = [9, *capacities]
    assert sum(sizes.values()) == min(workers, sum(demands))
    # fair: no channel has two workers more than a channel that wants more
    short = [size for size, demand in zip(sizes.values(), demands, strict=True) if size < demand]
    assert not short or max(sizes.values()) <= min(short) + 1


@pytest.mark.parametrize(
    ("channels", "words"),
    [
        ([], "needs a root"),
        ([ChannelConfig("a", 1)], "expected 'root'"),
        ([ChannelConfig("root", None)], "finite capacity"),
        ([ChannelConfig("root", 1), ChannelConfig("root.a.b", 1)], "expected its parent root.a before it"),
        ([ChannelConfig("root", 1), ChannelConfig("root", 1)], "twice"),
    ],
)
def test_a_tree_that_is_none_is_refused(channels: list[ChannelConfig], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Tree(channels)


def test_what_a_channel_does_not_say_the_nearest_above_says() -> None:
    limits = tree(
        "root:4:timeout=60:nice=5:retention=9d,a:2:timeout=30:on_error=retry:retention=0,a.b:1:max_jobs=7"
    )
    values = [limits.inherited("root.a.b", name) for name in INHERITED]
    assert values == [30.0, 0, 0.0, 7, "retry", 5, 0, None], "a retention of 0 is a value: for ever"
    assert limits.inherited("root", "retention") == 9 * 86400
    assert limits.inherited("root", "on_error") == ""
    with pytest.raises(ValueError, match="do not inherit throttle"):
        limits.inherited("root", "throttle")
