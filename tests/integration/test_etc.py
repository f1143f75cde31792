"""The sample configuration is valid, lists every option, and states the defaults correctly."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from queuemaster.channels.channel import ChannelConfig
from queuemaster.channels.parse import KNOWN_KEYS, parse_channels
from queuemaster.cli import main
from queuemaster.config.options import Options
from queuemaster.config.sources import compile_settings

SAMPLE = Path(__file__).parents[2] / "etc" / "queuemaster.conf"
ODOO = SAMPLE.with_name("odoo.conf")


def check(file: Path) -> None:
    """``queuemaster check`` has no warning about it."""
    result = CliRunner(env={"QUEUEMASTER_DATA_DIR": None}).invoke(
        main, ["check", "-c", str(file), "--strict"]
    )
    assert result.exit_code == 0, result.stderr


def test_the_sample_is_valid_as_it_stands() -> None:
    check(SAMPLE)


def test_our_section_of_the_sample_for_odoo_is_valid(tmp_path: Path) -> None:
    """Without Odoo's own section, since Odoo is not installed here."""
    section = "[queue_job]\n" + ODOO.read_text().partition("\n[queue_job]\n")[2]
    part = tmp_path / "odoo.conf"
    part.write_text(section)
    check(part)
    part.write_text(re.sub(r"^;(?=\w+ = )", "", section, flags=re.MULTILINE))
    compiled = compile_settings(part, {}, [], {})
    options = {value.option for value in compiled.values if value.source == str(part)}
    assert {"channels", "python", "odoo_path", "user", "timeout", "graceful_timeout"} <= options
    assert [warning for warning in compiled.warnings if "odoo_path" not in warning] == []


def test_every_supported_option_stands_in_the_sample_once() -> None:
    named = re.findall(r"^#(\w+) =", SAMPLE.read_text(), re.MULTILINE)
    assert sorted(named) == sorted(Options.model_fields)


def test_every_key_of_a_channel_stands_in_the_sample_with_a_value_that_is_right() -> None:
    listed = re.findall(r"^#   ((\w+)(?:=\S+)?) ", SAMPLE.read_text(), re.MULTILINE)
    assert sorted(name for _, name in listed) == sorted(KNOWN_KEYS)
    for text, name in listed:
        parsed = parse_channels(f"root:1:{'rate=1:' if name == 'burst' else ''}{text}")
        assert parsed.warnings == (), text
        assert getattr(parsed.channels[0], name) != getattr(ChannelConfig("root"), name), text


@pytest.mark.parametrize("option", Options.model_fields)
def test_what_the_sample_gives_as_a_default_is_the_default(option: str, tmp_path: Path) -> None:
    active = tmp_path / "active.conf"
    text, count = re.subn(rf"^#(?={option} =)", "", SAMPLE.read_text(), flags=re.MULTILINE)
    active.write_text(text)
    assert count == 1
    compiled = compile_settings(active, {}, [], {})
    assert {value.option for value in compiled.values if value.source == str(active)} == {option}
    assert compiled.settings == compile_settings(None, {}, [], {}).settings
    assert compiled.warnings == ()
