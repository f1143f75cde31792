"""The values that an option accepts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from queuejobs.shared.amounts import read_duration
from queuemaster.config.compiled import Settings
from queuemaster.config.options import Options
from queuemaster.config.sources import compile_settings

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


@given(st.integers(0, 10**6), st.sampled_from(sorted(UNITS)))
def test_a_duration_is_a_number_with_or_without_a_unit(number: int, unit: str) -> None:
    assert read_duration(f"{number}{unit}") == number * UNITS[unit]


@pytest.mark.parametrize("text", ["", "-1", "5x", "1h30m", "inf", "nan", "1e3", "s", "٣"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        read_duration(text)


@pytest.mark.parametrize(
    ("option", "text", "message"),
    [
        ("max_workers", "0", "whole number from 1 to 4096"),
        ("max_workers", "many", "whole number from 1 to 4096"),
        ("poll_interval", "0", "more than 0"),
        ("on_error", "ignore", "one of fail, retry"),
        ("direct", "", "yes or no"),
        ("direct", "maybe", "yes or no"),
        ("log_level", "LOUD", "one of DEBUG"),
        ("log_format", "xml", "one of text, json"),
        ("log_handler", "sales", "expected LOGGER:LEVEL"),
        ("app", "sales.jobs, my-app", "'my-app' is not a module's name"),
        ("channels", "a:b", "not a whole number"),
        ("database", "host=h", "names no database"),
    ],
)
def test_a_bad_value_is_refused_with_what_was_expected(option: str, text: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Options.model_validate({option: text})


@pytest.mark.parametrize("text", ["yes", "True", " on ", "1", "no", "False", "off", "0"])
def test_yes_and_no_are_read_in_the_words_that_people_use(text: str) -> None:
    assert Options.model_validate({"direct": text}).direct is (
        text.strip().lower() in ("yes", "true", "on", "1")
    )


def test_the_defaults_are_those_of_the_plain_settings() -> None:
    settings = Options.model_validate({}).settings()
    plain = Settings(channels=settings.channels, databases=(), pools=settings.pools)
    assert settings == plain


def test_values_arrive_in_the_settings() -> None:
    assignments = ["app=sales.jobs,stock", "log_handler=sales:debug", "graceful_timeout=2m", "max_workers=3"]
    settings = compile_settings(None, {"channels": "root:2,mail:1"}, assignments, {}).settings
    assert settings.app == ("sales.jobs", "stock")
    assert settings.log_handlers == ("sales:DEBUG",)
    assert settings.graceful_timeout == 120
    assert [channel.name for channel in settings.channels] == ["root", "root.mail"]
    assert settings.pools == {"root": 2, "root.mail": 1}
    assert Settings.from_json(settings.to_json()) == settings


def test_paths_do_not_depend_on_the_directory_of_later_readers(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("here"))
        options = Options.model_validate({"logfile": "a.log", "python": "python3"})
    assert options.logfile.startswith("/")
    assert options.logfile.endswith("/a.log")
    assert options.python == "python3"  # a name is looked up on PATH
