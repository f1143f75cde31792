"""The configuration string: what it may contain, what is warned of, what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuejobs.shared.amounts import read_size
from queuemaster.channels import ChannelSyntaxError, Parsed, Tree, parse_channels
from queuemaster.channels.channel import ChannelConfig
from queuemaster.channels.keys import read_rate, show_rate, show_size


def channels(text: str) -> dict[str, ChannelConfig]:
    return {channel.name: channel for channel in parse_channels(text).channels}


def warnings(text: str) -> str:
    return "\n".join(parse_channels(text).warnings)


@pytest.mark.parametrize("text", ["", " ", "\n", ",", " , \n ,, ", "root", "root:1", " root : 1 "])
def test_the_default_is_one_job_at_a_time(text: str) -> None:
    assert parse_channels(text) == Parsed((ChannelConfig("root", 1),))


def test_entries_are_separated_by_commas_or_lines_and_trimmed() -> None:
    by_line = "\n  root : 4\n\n  big jobs : 2 : throttle = 3 \r\n  mail\n"
    by_comma = "root:4,,big jobs:2:throttle=3,mail,"
    expected = (
        ChannelConfig("root", 4),
        ChannelConfig("root.big jobs", 2, throttle=3.0),
        ChannelConfig("root.mail", 1),
    )
    assert parse_channels(by_line) == parse_channels(by_comma) == Parsed(expected)


def test_root_may_be_left_out_of_a_name() -> None:
    assert parse_channels("root:9,sale.mail:2") == parse_channels("root:9,root.sale.mail:2")
    assert "root.rooted" in channels("root:9,rooted:2")


def test_a_capacity_left_out_is_one() -> None:
    assert channels("root:4,mail")["root.mail"].capacity == 1


def test_ancestors_that_are_not_named_are_unlimited_and_stand_before_their_children() -> None:
    parsed = parse_channels("a.b.c:2,root:4,a:3")
    assert [channel.name for channel in parsed.channels] == ["root", "root.a", "root.a.b", "root.a.b.c"]
    assert [channel.capacity for channel in parsed.channels] == [4, 3, None, 2]
    assert not parsed.warnings


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("sequential", {"sequential": True}),
        ("sequential=true", {"sequential": True}),
        ("sequential=anything", {"sequential": True}),
        ("sequential=false", {}),
        ("sequential=False", {}),
        ("sequential=no", {}),
        ("sequential=0", {}),
        ("sequential=off", {}),
        ("sequential=", {}),
        ("paused", {"paused": True}),
        ("paused=no", {}),
        ("throttle=2", {"throttle": 2.0}),
        ("throttle=0.5", {"throttle": 0.5}),
        ("throttle=off", {}),
        ("prefork=3", {"prefork": 3}),
        ("prefork=0", {"prefork": 0}),
        ("rate=5", {"rate": 5.0}),
        ("rate=2.5/s", {"rate": 2.5}),
        ("rate = 30 / m", {"rate": 0.5}),
        ("rate=36/H", {"rate": 0.01}),
        ("rate=off", {}),
        ("rate=0/m", {}),
        ("rate=5/s:burst=10", {"rate": 5.0, "burst": 10}),
        ("timeout=30", {"timeout": 30.0}),
        ("timeout=0", {}),
        ("memory=512M", {"memory": 512 * 2**20}),
        ("memory=1.5GiB", {"memory": 1536 * 2**20}),
        ("memory=0", {}),
        ("cpu=2.5", {"cpu": 2.5}),
        ("max_jobs=100", {"max_jobs": 100}),
        ("batch=20", {"batch": 20}),
        ("on_error=Retry", {"on_error": "retry"}),
        ("nice=-5", {"nice": -5}),
        ("sequential:throttle=2:paused", {"sequential": True, "throttle": 2.0, "paused": True}),
    ],
)
def test_options(option: str, expected: dict[str, object]) -> None:
    parsed = parse_channels(f"root:4,a:1:{option}")
    assert parsed.channels[1] == ChannelConfig("root.a", 1, **expected)  # type: ignore[arg-type]
    assert not parsed.warnings


def test_an_option_is_not_inherited() -> None:
    assert channels("root:4,a:1:sequential,a.b:1")["root.a.b"] == ChannelConfig("root.a.b", 1)


# -- what is accepted with a warning -----------------------------------------------------------------------


@pytest.mark.parametrize("root", ["", "root,"])
def test_a_root_left_at_one_is_said_when_others_are_larger(root: str) -> None:
    parsed = parse_channels(f"{root}sub:2,other:1,free:0")
    assert parsed.channels[0].capacity == 1
    assert "add root:N" in parsed.warnings[-1]
    assert "sub:2, free:0" in parsed.warnings[-1]
    assert "other" not in parsed.warnings[-1]
    assert not warnings(f"{root}sub:1,deep.er:1")


def test_a_child_larger_than_what_is_above_is_said() -> None:
    assert warnings("root:4,a:5") == "a:5: larger than root, which never runs more than 4 at a time"
    assert warnings("root:1,a:2") == "a:2: larger than root, which never runs more than 1 at a time"
    assert "larger than root.a," in warnings("root:9,a:2,a.b.c:3")
    assert not warnings("root:4,a:4,a.b.c:4")


def test_zero_is_unlimited() -> None:
    assert channels("root:4,a:0")["root.a"].capacity is None
    assert "capacity 0 means unlimited" in warnings("root:4,a:0")


@pytest.mark.parametrize(
    "text", ["root:0", " root:0,a:2", "a:2,root:0", "root : 0", "root:0,root:4", "root:-1"]
)
def test_a_root_of_zero_switches_the_runner_off(text: str) -> None:
    parsed = parse_channels(text)
    assert parsed.off
    assert "switched off" in parsed.warnings[-1]
    assert set(Tree(parsed.channels).pool_sizes(64).values()) == {0}
    assert not parse_channels("root:4,a:0").off


def test_a_negative_capacity_starts_nothing() -> None:
    assert channels("root:4,a:-1")["root.a"].capacity == 0
    assert "no job ever starts" in warnings("root:4,a:-1")


def test_of_a_channel_given_twice_the_last_entry_counts_and_all_of_it() -> None:
    text = "root:4,a:1:sequential:throttle=2,root.a:3"
    assert channels(text)["root.a"] == ChannelConfig("root.a", 3)
    assert "a:1:sequential:throttle=2" in warnings(text)
    assert "replaces" in warnings(text)
    assert not warnings("root:4,a.b:1,a:2")  # no warning for an ancestor that was only implied


def test_an_unknown_option_is_said_with_the_nearest_known_one() -> None:
    text = "root:4,a:1:throtle=2:Sequential:zzz=1"
    assert channels(text)["root.a"] == ChannelConfig("root.a", 1)
    assert "did you mean throttle?" in warnings(text)
    assert "did you mean sequential?" in warnings(text)
    assert "unknown option 'zzz', ignored; known are sequential, throttle" in warnings(text)


@pytest.mark.parametrize("other", ["sequential", "throttle=5", "rate=5/s"])
def test_a_batch_where_each_start_is_waited_for_has_no_effect(other: str) -> None:
    assert "batch has no effect" in warnings(f"root:4,a:1:batch=4:{other}")
    assert warnings("root:4,a:1:batch=4") == ""


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("rate", "rate= is no number of starts"),
        ("rate=many", "rate=many is no number of starts"),
        ("rate=5/d", "rate=5/d is no number of starts"),
        ("rate=-5", "rate=-5 is no number of starts"),
        ("rate=nan", "rate=nan is no number of starts"),
        ("rate=0.0000001/h", "less than one start in thirty years"),
        ("rate=5:burst=0", "burst=0 is no number of starts"),
        ("timeout=-1", "timeout=-1 is no number of seconds"),
        ("timeout=5m", "timeout=5m is no number of seconds"),
        ("cpu=inf", "cpu=inf is no number of seconds"),
        ("memory=lots", "memory=lots is no size"),
        ("memory=-1M", "memory=-1M is no size"),
        ("max_jobs=1.5", "max_jobs=1.5 is no number of jobs"),
        ("batch=0", "batch=0 is no number of jobs"),
        ("on_error=ignore", "on_error=ignore is none of fail, retry"),
        ("nice=20", "nice=20 is no nice value"),
        ("prefork=many", "prefork=many is no number of workers"),
    ],
)
def test_a_value_that_makes_no_sense_is_ignored_and_said_with_one_that_does(option: str, words: str) -> None:
    text = f"root:4,a:1:{option}"
    key = option.rpartition(":")[2].partition("=")[0]
    assert words in warnings(text)
    assert f"ignored; expected: {key}=" in warnings(text)
    assert getattr(channels(text)["root.a"], key) == getattr(ChannelConfig("root.a"), key)


def test_a_burst_without_a_rate_is_said() -> None:
    assert "burst has no meaning without a rate" in warnings("root:4,a:1:burst=5")
    assert not warnings("root:4,a:1:burst=5:rate=1")


@given(st.floats(1e-4, 1e6))
def test_a_rate_that_is_shown_can_be_read(rate: float) -> None:
    assert read_rate(show_rate(rate)) == pytest.approx(rate, rel=1e-4)


@pytest.mark.parametrize(
    ("text", "size"), [("4096", 4096), ("512M", 2**29), ("1.5g", 3 * 2**29), ("1KiB", 1024)]
)
def test_a_size_that_is_shown_can_be_read(text: str, size: int) -> None:
    assert read_size(text) == read_size(show_size(size)) == size


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("a:1:", "an option without a name"),
        ("a:1:throttle", "one second between two starts"),
        ("a:1:throttle=-1", "does not slow"),
        ("a:1:prefork=many", "no number of workers"),
        ("a..b:1", "empty part"),
    ],
)
def test_other_doubtful_entries_are_accepted_and_said(entry: str, words: str) -> None:
    assert words in warnings(f"root:4,{entry}")


# -- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (":4", "name of the channel is missing"),
        ("a:", "'' is not a whole number"),
        ("a:two", "'two' is not a whole number"),
        ("a:2.5", "'2.5' is not a whole number"),
        ("a:sequential", "the capacity comes before the keys: a:1:sequential"),
        ("a:1:k=v=w", "more than one '='"),
        ("a:1:k:k", "k is given twice"),
        ("a:1:capacity=2", "capacity is given twice"),
        ("a:2:sequential", "expected capacity 1"),
        ("a:0:sequential", "expected capacity 1"),
        ("a:1:throttle=soon", "no number of seconds"),
        ("a:1:throttle=", "no number of seconds"),
        ("a:1:throttle=nan", "no number of seconds"),
    ],
)
def test_what_cannot_be_understood_names_the_entry(entry: str, words: str) -> None:
    with pytest.raises(ChannelSyntaxError) as caught:
        parse_channels(f"root:4, {entry} ,b:2")
    assert str(caught.value).startswith(f"channel entry {entry!r}: ")
    assert words in str(caught.value)
    assert "expected" in str(caught.value)
    assert caught.value.entry == entry


@given(st.text(alphabet="ra.: ,\n=0123-sequentialthrottle", max_size=40))
def test_any_text_gives_a_tree_or_names_an_entry_of_it(text: str) -> None:
    culprit, first = "", "root"
    try:
        first = Tree(parse_channels(text).channels).names[0]
    except ChannelSyntaxError as error:
        culprit = error.entry
    assert culprit in text
    assert first == "root"


def test_numbers_beyond_any_use_are_read_as_the_greatest_that_fits_everywhere() -> None:
    parsed = parse_channels(f"root:2:batch={10**20}:burst={10**20}:max_jobs={10**20}")
    root = parsed.channels[0]
    assert (root.batch, root.burst, root.max_jobs) == (2**31 - 1,) * 3
