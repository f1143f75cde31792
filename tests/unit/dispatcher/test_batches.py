"""The number of jobs in a grant."""

from __future__ import annotations

import pytest

from queuemaster.channels import Tree, parse_channels
from queuemaster.dispatcher.grant import BatchSizes, OutstandingGrant

SOURCE = (0, "root.a")


def tree(text: str) -> Tree:
    return Tree(parse_channels(text).channels)


def grant(batch: int, stored: str = "root.a") -> OutstandingGrant:
    return OutstandingGrant(1, 0, 1, stored, False, batch, None)


def test_as_many_as_the_channel_says() -> None:
    channels = tree("root:4:batch=5,a:2:batch=3,b:1")
    assert [BatchSizes().next_size(SOURCE, channels, f"root{name}") for name in ("", ".a", ".b")] == [5, 3, 1]


@pytest.mark.parametrize(
    "text", ["root:4:rate=5/s,a:2:batch=3", "root:4,a:2:batch=3:throttle=1", "root:4,a:1:batch=3:sequential"]
)
def test_where_starts_are_counted_or_ordered_each_takes_a_grant(text: str) -> None:
    assert BatchSizes().next_size(SOURCE, tree(text), "root.a") == 1


def test_after_one_broke_as_many_run_one_by_one() -> None:
    batches, channels = BatchSizes(), tree("root:4,a:2:batch=3")
    batches.broke(grant(3))
    assert [batches.next_size(SOURCE, channels, "root.a") for _ in range(5)] == [1, 1, 1, 3, 3]
    assert batches.next_size((0, "root.a.sub"), channels, "root.a") == 3, "no batch of this channel broke"
    batches.broke(grant(1))
    assert batches.next_size(SOURCE, channels, "root.a") == 3, (
        "a failure of a job that ran alone does not shrink batches"
    )
