"""``queuemaster channel``, on a real PostgreSQL: what it writes, what it shows, what it refuses."""

from __future__ import annotations

import json
import select
from typing import Any

import pytest
from click.testing import CliRunner, Result

from queuemaster.channels import Override
from queuemaster.channels.channel import ChannelConfig
from queuemaster.cli import main
from queuemaster.config.compiled import ServerPlan
from queuemaster.dispatcher import live_limits
from queuemaster.dispatcher.live_limits import LiveLimits
from support.postgres import connected, new_database
from support.waiting import wait_until

CHANNELS = "root:4,mail:8:rate=2/s,mail.bulk:1,export:1:sequential,night:2:paused"


def channel(dsn: str, *arguments: str, channels: str = CHANNELS) -> Result:
    options = ["--channels", channels] if channels else []
    return CliRunner().invoke(main, ["channel", *arguments, "--database", dsn, *options])


def channel_rows(dsn: str, *arguments: str, channels: str = CHANNELS) -> dict[str, Any]:
    result = channel(dsn, *arguments, "--json", channels=channels)
    assert result.exit_code == 0, result.stderr
    return {channel_row["name"]: channel_row for channel_row in json.loads(result.stdout)["channels"]}


def rows(dsn: str) -> list[Any]:
    with connected(dsn) as connection, connection.cursor() as cursor:
        cursor.execute("select channel, capacity, rate, paused from queuemaster.control order by 1")
        return cursor.fetchall()


def test_a_change_is_written_and_shown_with_what_is_configured_and_what_counts(database: str) -> None:
    changed = channel_rows(database, "mail", "--capacity", "2", "--rate", "30/m")["root.mail"]
    assert changed["configured"] == {"capacity": 8, "rate": 2.0, "paused": False, "effective": 4}
    assert list(changed["overrides"].values()) == [{"capacity": 2, "rate": 0.5, "paused": None}]
    assert changed["effective"] == {"capacity": 2, "rate": 0.5, "paused": False}
    assert rows(database) == [("root.mail", 2, "30/m", None)]
    below = channel_rows(database)["root.mail.bulk"]
    assert below["overrides"] == {}
    assert below["effective"] == {"capacity": 1, "rate": 0.5, "paused": False}


def test_changes_add_up_until_they_are_cleared(database: str) -> None:
    channel(database, "root.mail", "--capacity", "2")
    channel(database, "mail", "--pause")
    assert rows(database) == [("root.mail", 2, None, True)]
    assert channel_rows(database)["root.mail.bulk"]["effective"]["paused"] is True
    channel(database, "mail", "--resume", "--rate", "off")
    assert rows(database) == [("root.mail", 2, "off", False)]
    assert channel_rows(database, "mail")["root.mail"]["effective"] == {
        "capacity": 2,
        "rate": 0.0,
        "paused": False,
    }
    channel(database, "mail", "--clear", "--capacity", "3")
    assert rows(database) == [("root.mail", 3, None, None)]
    assert channel(database, "mail", "--clear").exit_code == 0
    assert rows(database) == []


def test_a_configured_pause_is_lifted(database: str) -> None:
    assert channel_rows(database, "night", "--resume")["root.night"]["effective"]["paused"] is False


def test_people_see_a_table(database: str) -> None:
    channel(database, "mail", "--capacity", "0", "--rate", "100/h", "--pause")
    lines = [line.split("  ") for line in channel(database).stdout.splitlines()]
    table = {cells[0]: [cell.strip() for cell in cells[1:] if cell.strip()] for cells in lines}
    assert table["root.mail"] == [
        "capacity 8, rate 2/s", "capacity 0, rate 100/h, paused", "capacity 0, rate 100/h, paused",
    ]  # fmt: skip
    assert table["root.export"] == ["capacity 1", "-", "capacity 1"]


def test_a_channel_that_is_not_configured_is_warned_of_with_the_nearest(database: str) -> None:
    result = channel(database, "mial", "--pause")
    assert result.exit_code == 0
    assert "warning: channel root.mial is not configured" in result.stderr
    assert "did you mean root.mail?" in result.stderr
    assert channel_rows(database)["root.mial"]["effective"] is None
    unknown = channel(database, "mial", "--pause", channels="")
    assert "warning" not in unknown.stderr, (
        "without a configuration the channel cannot be checked, so there is no warning"
    )
    assert "live limits are shown" in unknown.stderr
    assert "root.mial" in unknown.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--pause"], "a change of which channel?"),
        (["--clear"], "which channel?"),
        (["mail", "--rate", "fast"], "option --rate = 'fast' is no number of starts"),
        (["mail", "--rate", ""], "option --rate = '' is no number of starts"),
        (["mail", "--capacity", "-1"], "-1"),
        (["mail", "--capacity", "many"], "many"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_changes_nothing(
    database: str, arguments: list[str], words: str
) -> None:
    result = channel(database, *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert rows(database) == []


def test_all_databases_are_changed_or_none(server: ServerPlan, template: str, database: str) -> None:
    nowhere = "host=127.0.0.1 port=1 dbname=nowhere"
    refused = channel(database, "mail", "--pause", "--database", nowhere)
    assert refused.exit_code == 2
    assert "cannot be reached" in refused.stderr
    assert rows(database) == []
    with new_database(server, template) as other_database:
        limits = channel_rows(database, "mail", "--capacity", "3", "--database", other_database)["root.mail"]
        assert len(limits["overrides"]) == 2
        channel(other_database, "mail", "--capacity", "2")
        limits = channel_rows(database, "mail", "--database", other_database)["root.mail"]
        assert limits["effective"]["capacity"] == 2, "the smallest capacity counts"
        assert rows(database) == [("root.mail", 3, None, None)]


def test_dispatchers_are_told(database: str) -> None:
    with connected(database) as listening, listening.cursor() as cursor:
        cursor.execute("listen queue_job")
        channel(database, "mail", "--pause")

        def is_notified() -> bool:
            select.select([listening], [], [], 0.1)
            listening.poll()
            return bool(listening.notifies)

        wait_until(is_notified)
        assert json.loads(listening.notifies[0].payload) == {"control": True}


def test_check_shows_what_is_changed_live(database: str) -> None:
    channel(database, "mail", "--capacity", "3", "--pause")
    command = ["check", "--channels", CHANNELS, "--database", database]
    people = CliRunner().invoke(main, command)
    assert (
        "root.mail  capacity 8, effective 4, rate 2/s  (live: capacity 3, rate 2/s, paused)" in people.stdout
    )
    document = json.loads(CliRunner().invoke(main, [*command, "--json"]).stdout)
    live = {channel["name"]: channel.get("live") for channel in document["channels"]}
    assert live["root.mail"] == {"capacity": 3, "rate": 2.0, "paused": True, "effective": 3}
    assert live["root.export"] is None


def test_check_shows_the_options_of_a_channel() -> None:
    options = "rate=30/m:burst=3:timeout=30:memory=512M:cpu=5:max_jobs=9:on_error=retry:nice=5"
    command = ["check", "--explain", "--channels", f"root:4,a:2:{options}"]
    people = CliRunner().invoke(main, command).stdout
    words = "rate 30/m, burst 3, timeout 30 s, memory 512M, cpu 5 s, max_jobs 9, on_error retry, nice 5"
    assert f"root.a  capacity 2, {words}\n" in people
    assert "30/m starts, up to 3 of them at once" in people
    document = json.loads(CliRunner().invoke(main, [*command, "--json"]).stdout)
    assert document["channels"][1]["options"]["memory"] == 512 * 2**20


def test_what_was_written_by_hand_is_taken_as_far_as_it_makes_sense(database: str) -> None:
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute("insert into queuemaster.control values ('mail', 3, 'fast', null)")
        assert live_limits.read(cursor) == (Override("root.mail", 3),)
    assert channel_rows(database, "mail", "--clear")["root.mail"]["overrides"] == {}


def test_live_limits_of_a_database_count_until_it_says_otherwise() -> None:
    live = LiveLimits([ChannelConfig("root", 4), ChannelConfig("root.mail", 2)])
    assert live.change(0, "one", (Override("root.mail", 3, None, True), Override("root.unknown", 1)))
    assert not live.change(0, "one", (Override("root.mail", 3, None, True), Override("root.unknown", 1)))
    assert live.change(1, "two", (Override("root.mail", 1),))
    assert not live.change(2, "three", (Override("root.mail", 2),))
    assert (live.tree["root.mail"].capacity, live.tree["root.mail"].paused) == (1, True)
    assert live.change(0, "one", ())
    assert (live.tree["root.mail"].capacity, live.tree["root.mail"].paused) == (1, False)


def test_check_does_without_a_database_that_is_away() -> None:
    result = CliRunner().invoke(
        main, ["check", "--database", "host=127.0.0.1 port=1 dbname=nowhere password=hunter2"]
    )
    assert result.exit_code == 0
    assert "live limits of database" in result.stderr
    assert "are not shown" in result.stderr
    assert "hunter2" not in result.output
