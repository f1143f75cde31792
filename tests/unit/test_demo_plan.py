"""What the demonstration enqueues."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from queuemaster.channels.channel import ChannelConfig
from queuemaster.demo.plan import planned

CHANNELS = [ChannelConfig("root"), ChannelConfig("root.a"), ChannelConfig("root.b", sequential=True)]


@given(st.integers(1, 3000), st.integers(1, 3))
def test_every_graph_is_a_whole_diamond_in_one_channel(jobs: int, channels: int) -> None:
    plan = {job.number: job for job in planned(jobs, CHANNELS[:channels])}
    assert sorted(plan) == list(range(1, jobs + 1))
    for job in plan.values():
        for parent in job.parents:
            assert plan[parent].channel == job.channel
            assert plan[parent].kind == job.kind == "following"
    joining = [job for job in plan.values() if len(job.parents) == 2]
    following = [job for job in plan.values() if job.kind == "following"]
    assert len(following) == 4 * len(joining)
    if jobs >= 40 * channels:
        assert joining
