"""How ``check`` describes a channel, and what it warns of."""

from __future__ import annotations

import pytest

from queuemaster.channels import Tree, parse_channels
from queuemaster.cli.commands.check import explanation, idle_batches, label_of, options_of
from queuemaster.config.compiled import Settings


@pytest.mark.parametrize(
    ("text", "label", "meaning"),
    [
        ("root:4", "root  capacity 4", "at most 4 jobs at a time, here and below"),
        ("root:2,a:8", "root.a  capacity 8, effective 2", "at most 2 jobs at a time, here and below; bounded by root"),
        (
            "root:2,a:0",
            "root.a  unlimited, effective 2",
            "at most 2 jobs at a time, here and below; bounded by root",
        ),
        (
            "root:2,a:1:sequential",
            "root.a  capacity 1, sequential",
            "at most 1 job at a time, here and below; one after the other, a failed one holds the rest",
        ),
        (
            "root:2,a:2:rate=30/m:burst=3:paused",
            "root.a  capacity 2, paused, rate 30/m, burst 3",
            "at most 2 jobs at a time, here and below; 30/m starts, up to 3 of them at once; paused: nothing starts",
        ),
        (
            "root:2,a:2:throttle=1.5:batch=9",
            "root.a  capacity 2, throttle 1.5 s, batch 9",
            "at most 2 jobs at a time, here and below; 1.5 s between two starts; up to 9 jobs in one transaction",
        ),
        (
            "root:1,a:1:retention=2d:failed_retention=0",
            "root.a  capacity 1, retention 2 d, failed_retention for ever",
            "at most 1 job at a time, here and below; done and cancelled jobs are removed after 2 d;"
            " failed jobs are kept for ever",
        ),
        (
            "root:1,a:1:memory=512M:cpu=90:timeout=300",
            "root.a  capacity 1, timeout 300 s, memory 512M, cpu 90 s",
            "at most 1 job at a time, here and below",
        ),
    ],
)  # fmt: skip
def test_a_channel_in_words(text: str, label: str, meaning: str) -> None:
    tree = Tree(parse_channels(text).channels)
    channel = tree[tree.names[-1]]
    assert label_of(channel, tree.effective(channel.name)) == label
    assert explanation(channel, tree) == meaning


def test_a_channel_below_one_that_is_switched_off_starts_nothing() -> None:
    tree = Tree(parse_channels("root:0,a:2").channels)
    assert explanation(tree["root.a"], tree).startswith("no job ever starts here")


def test_only_keys_that_are_not_at_their_defaults_are_shown() -> None:
    (root,) = parse_channels("root:1:nice=0:batch=1").channels
    assert options_of(root) == {}


def test_a_batch_beside_odoo_is_a_warning_and_elsewhere_not() -> None:
    channels = parse_channels("root:2:batch=5,mail:1").channels
    assert idle_batches(Settings(channels, ())) == []
    (warning,) = idle_batches(Settings(channels, (), odoo="/etc/odoo.conf"))
    assert warning == "channel root: batch=5 has no effect beside Odoo"
