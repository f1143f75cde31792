"""Login by password, by token, by either, or without any."""

from __future__ import annotations

import pytest

from queuemaster.config.compiled import Settings
from queuemaster.exporter.login import Login
from support.scraping import basic

PASSWORD = {"http_user": "me", "http_password": "hunter2"}
TOKEN = {"http_token": "c0ffee"}
WRONG = ("", basic("", ""), basic("me", ""), basic("", "hunter2"), basic("you", "hunter2"), basic("me", "hunter3"),
         "Basic", "Basic ###", "Bearer", "Bearer ", "Bearer c0ffe", "Bearer a=b", "Digest c0ffee", "Digest username=me",
         "c0ffee")  # fmt: skip


def admits(header: str, **options: str) -> bool:
    return Login(Settings((), (), **options)).admits(header)  # type: ignore[arg-type]


@pytest.mark.parametrize("header", ["", basic("me", "hunter2"), "Bearer c0ffee"])
def test_without_a_login_everybody_is_let_in(header: str) -> None:
    assert not Login(Settings((), ())).required
    assert admits(header)


@pytest.mark.parametrize("options", [PASSWORD, TOKEN, {**PASSWORD, **TOKEN}])
@pytest.mark.parametrize("header", WRONG)
def test_who_does_not_know_it_is_not_let_in(header: str, options: dict[str, str]) -> None:
    assert not admits(header, **options)


def test_who_knows_it_is_let_in_by_what_is_configured() -> None:
    assert admits(basic("me", "hunter2"), **PASSWORD)
    assert not admits("Bearer c0ffee", **PASSWORD)
    assert admits("Bearer c0ffee", **TOKEN)
    assert not admits(basic("me", "hunter2"), **TOKEN)
    for header in (basic("me", "hunter2"), "Bearer c0ffee", "bearer c0ffee"):
        assert admits(header, **PASSWORD, **TOKEN), header


def test_what_is_not_ascii_is_compared_too() -> None:
    assert admits(basic("jürg", "größe"), http_user="jürg", http_password="größe")
    assert not admits(basic("jürg", "grösse"), http_user="jürg", http_password="größe")


@pytest.mark.parametrize("token", ["abc=def", "abc==", 'a="b", c=d', "with blank"])
def test_a_token_of_any_characters(token: str) -> None:
    assert admits(f"Bearer {token}", http_token=token)
    assert not admits(f"Bearer {token}x", http_token=token)


@pytest.mark.parametrize(
    ("options", "scheme"), [(PASSWORD, "Basic"), (TOKEN, "Bearer"), ({**PASSWORD, **TOKEN}, "Basic")]
)
def test_the_refusal_names_a_scheme_that_is_configured(options: dict[str, str], scheme: str) -> None:
    login = Login(Settings((), (), **options))  # type: ignore[arg-type]
    assert login.refusal().headers["WWW-Authenticate"] == f'{scheme} realm="Queuemaster"'
