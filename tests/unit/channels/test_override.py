"""Live changes of channels, applied over the configuration."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from queuemaster.channels import Override, Tree, overridden, parse_channels
from queuemaster.channels.channel import ChannelConfig

CONFIGURED = parse_channels("root:8,a:4:rate=2/s:throttle=3,b:2:paused,c:1:sequential").channels
OVERRIDES = st.builds(
    Override,
    st.sampled_from(["root", "root.a", "root.b", "root.c", "root.unknown"]),
    st.none() | st.integers(0, 9),
    st.none() | st.sampled_from((0.0, 0.5, 7.0)),
    st.none() | st.booleans(),
)


def after(*overrides: Override) -> dict[str, ChannelConfig]:
    return {channel.name: channel for channel in overridden(CONFIGURED, overrides)}


def test_only_what_is_said_is_changed() -> None:
    a = after(Override("root.a", capacity=6))["root.a"]
    assert (a.capacity, a.rate, a.paused, a.throttle) == (6, 2.0, False, 3.0)
    assert after(Override("root.b", paused=False))["root.b"] == ChannelConfig("root.b", 2)
    assert after(Override("root.a", rate=0.0))["root.a"].rate == 0.0
    assert after() == {channel.name: channel for channel in CONFIGURED}


def test_of_several_databases_the_most_careful_counts() -> None:
    first, second = Override("root.a", 6, 0.0, False), Override("root.a", 5, 1.0, True)
    for pair in ((first, second), (second, first)):
        a = after(*pair)["root.a"]
        assert (a.capacity, a.rate, a.paused) == (5, 1.0, True)
    assert after(first, Override("root.a"))["root.a"].capacity == 6, (
        "a row that changes nothing does not count"
    )


def test_a_sequential_channel_stays_so() -> None:
    assert after(Override("root.c", capacity=5))["root.c"].capacity == 1
    assert after(Override("root.c", capacity=0))["root.c"].capacity == 0


@given(st.lists(OVERRIDES, max_size=6))
def test_any_overrides_leave_a_tree_of_the_same_channels_in_any_order(overrides: list[Override]) -> None:
    changed = overridden(CONFIGURED, overrides)
    assert Tree(changed).names == Tree(CONFIGURED).names
    assert changed == overridden(CONFIGURED, overrides[::-1])
