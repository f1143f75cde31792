"""The address that the exporter listens on, and who may read there."""

from __future__ import annotations

import pytest

from queuemaster.config.http_address import is_loopback, parse_address
from queuemaster.config.option_values import ConfigurationError
from queuemaster.config.sources import compile_settings


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("127.0.0.1:8079", "127.0.0.1", 8079, True),
        ("127.3.2.1:1", "127.3.2.1", 1, True),
        ("localhost:65535", "localhost", 65535, True),
        ("[::1]:80", "::1", 80, True),
        ("[::]:80", "::", 80, False),
        ("0.0.0.0:80", "0.0.0.0", 80, False),
        ("queue1.example:80", "queue1.example", 80, False),
        ("127.0.0.1.example:80", "127.0.0.1.example", 80, False),
    ],
)
def test_addresses(text: str, host: str, port: int, loopback: bool) -> None:
    assert parse_address(text) == (host, port)
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    "text", ["8079", ":8079", "127.0.0.1", "127.0.0.1:", "h:0", "h:65536", "::1:80", "a b:80", "[x]:80"]
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|permitted|At least"):
        parse_address(text)
    with pytest.raises(ConfigurationError, match="option http = "):
        compile_settings(None, {"http": text}, [], {})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"http": "0.0.0.0:80"}, "anybody who reaches this machine"),
        ({"http": "0.0.0.0:80", "http_user": "me"}, "expected both or neither"),
        ({"http_password": "hunter2"}, "expected both or neither"),
        ({"http": "[::]:80", "http_token": ""}, "http_token"),
    ],
)
def test_without_a_login_only_this_machine_may_read(options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as refused:
        compile_settings(None, {}, [f"{name}={value}" for name, value in options.items()], {})
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "options",
    [
        {"http": ""},
        {"http": "0.0.0.0:80", "http_token": "hunter2"},
        {"http": "0.0.0.0:80", "http_user": "me", "http_password": "hunter2"},
        {"http_token": "hunter2"},
    ],
)
def test_what_is_accepted_never_shows_its_secrets(options: dict[str, str]) -> None:
    compiled = compile_settings(None, {}, [f"{name}={value}" for name, value in options.items()], {})
    assert "hunter2" not in repr(compiled.values)
    assert compiled.settings.http == options.get("http", "127.0.0.1:8079")
