"""Templates and workers read the settings of each channel from the service's JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from queuejobs.retry import RetrySettings
from queuejobs.worker.settings import ChannelSettings, Database, WorkerSettings, parse
from queuemaster.config.sources import compile_settings

CONF = """
[queue_job]
database = postgresql://somebody:secret@db1/sales, postgresql:///crm
app = shop.jobs, shop.more
on_error = retry
retry_delay = 30
max_backoff = 120
timeout = 60
limit_time_cpu = 50
limit_memory_soft = 512M
limit_memory_hard = 1G
max_jobs = 1000
max_age = 3600
graceful_timeout = 7
channels = root:4,
    root.mail:1:timeout=5:nice=3,
    root.mail.bulk:1:memory=256M:on_error=fail
"""


@pytest.fixture
def settings(tmp_path: Path) -> WorkerSettings:
    """The settings that the master hands down for this configuration."""
    conf = tmp_path / "queuemaster.conf"
    conf.write_text(CONF)
    return parse(json.loads(compile_settings(conf, {}, [], {}).settings.to_json()))


def test_a_channel_that_sets_nothing_has_what_the_service_has(settings: WorkerSettings) -> None:
    assert settings.channels["root"] == ChannelSettings(
        retry=RetrySettings("retry", 30.0, 120.0), timeout=60.0, cpu=50.0, memory_soft=512 << 20,
        memory_hard=1 << 30, max_jobs=1000, max_age=3600.0, nice=0,
    )  # fmt: skip


def test_a_channels_own_settings_replace_those_of_the_service(settings: WorkerSettings) -> None:
    root, mail = settings.channels["root"], settings.channels["root.mail"]
    assert mail == root._replace(timeout=5.0, nice=3)


def test_what_a_channel_leaves_open_comes_from_the_nearest_channel_above(settings: WorkerSettings) -> None:
    mail, bulk = settings.channels["root.mail"], settings.channels["root.mail.bulk"]
    assert bulk == mail._replace(memory_hard=256 << 20, retry=RetrySettings("fail", 30.0, 120.0))


def test_databases_and_modules_keep_their_order(settings: WorkerSettings) -> None:
    assert settings.app == ("shop.jobs", "shop.more")
    assert [(database.name, database.id) for database in settings.databases] == [("sales", 0), ("crm", 1)]
    assert settings.databases[0] == Database("sales", "postgresql://somebody:secret@db1/sales", 0)
    assert settings.graceful_timeout == 7.0


def test_a_setting_that_is_missing_is_an_error(tmp_path: Path) -> None:
    data = json.loads(compile_settings(None, {}, [], {}).settings.to_json())
    del data["graceful_timeout"]
    with pytest.raises(KeyError, match="graceful_timeout"):
        parse(data)
