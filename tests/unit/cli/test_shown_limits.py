"""Limits that were changed live, as the commands show them."""

from __future__ import annotations

from queuemaster.channels import Override, Tree, parse_channels
from queuemaster.cli.commands.channel import document
from queuemaster.cli.live_limits import LiveLimits, limit_words, limits_document, override_words

CHANNELS = parse_channels("root:4,mail:3:rate=5").channels
OVERRIDES = {
    "sales": (Override("root.mail", capacity=2), Override("root.gone", paused=True)),
    "crm": (Override("root.mail", rate=1.0),),
    "quiet": (),
}


def test_what_each_database_says_of_a_channel_and_what_follows() -> None:
    live = LiveLimits(CHANNELS, OVERRIDES)
    assert live.changed == {"root.mail", "root.gone"}
    assert live.of_channel("root.mail") == {
        "sales": Override("root.mail", capacity=2),
        "crm": Override("root.mail", rate=1.0),
    }
    assert live.of_channel("root") == {}
    assert (live.tree["root.mail"].capacity, live.tree["root.mail"].rate) == (2, 1.0)
    assert (live.configured["root.mail"].capacity, live.configured["root.mail"].rate) == (3, 5.0)


def test_one_channel_as_a_document() -> None:
    live = LiveLimits(CHANNELS, OVERRIDES)
    assert document(live, "root.mail", known=True) == {
        "name": "root.mail",
        "configured": {"capacity": 3, "rate": 5.0, "paused": False, "effective": 3},
        "overrides": {
            "sales": {"capacity": 2, "rate": None, "paused": None},
            "crm": {"capacity": None, "rate": 1.0, "paused": None},
        },
        "effective": {"capacity": 2, "rate": 1.0, "paused": False},
    }
    unknown = document(live, "root.gone", known=False)
    assert (unknown["configured"], unknown["effective"]) == (None, None)
    assert unknown["overrides"] == {"sales": {"capacity": None, "rate": None, "paused": True}}


def test_limits_in_words() -> None:
    tree = Tree(parse_channels("root:4,mail:0:rate=5:paused").channels)
    assert limit_words(tree, "root") == ["capacity 4"]
    assert limit_words(tree, "root.mail") == ["unlimited", "rate 5/s", "paused"]
    assert limits_document(tree, "root.mail") == {
        "capacity": None, "rate": 5.0, "paused": True, "effective": 4,
    }  # fmt: skip
    assert override_words(Override("a")) == []
    assert override_words(Override("a", 0, 0.0, False)) == ["capacity 0", "rate off", "resumed"]
