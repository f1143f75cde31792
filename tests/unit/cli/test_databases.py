"""Work in several databases: an error in one does not stop the others, and every error is reported."""

from __future__ import annotations

import io
import sys

import pytest

from queuemaster.cli.databases import argument, for_each_database
from queuemaster.cli.output import Declined, Failure, Refusal, confirmation, printable
from queuemaster.config.compiled import DatabaseConfig

DATABASES = [DatabaseConfig(name, f"dbname={name}") for name in ("a", "b", "c", "d")]


def worked(errors: dict[str, Failure]) -> tuple[list[str], Failure | None]:
    """The names of the databases that were worked in, and the error that was raised at the end."""
    names: list[str] = []

    def work(database: DatabaseConfig) -> None:
        names.append(database.name)
        if database.name in errors:
            raise errors[database.name]

    try:
        for_each_database(DATABASES, work)
    except Failure as error:
        return names, error
    return names, None


def test_without_an_error_nothing_is_raised() -> None:
    assert worked({}) == (["a", "b", "c", "d"], None)


def test_the_others_go_on_and_all_errors_are_told_with_the_stronger_exit_code() -> None:
    names, error = worked({"a": Failure("a failed"), "c": Refusal("c refused")})
    assert names == ["a", "b", "c", "d"]
    assert isinstance(error, Refusal)
    assert error.message == "c refused\na failed"
    _, error = worked({"b": Failure("b failed")})
    assert error is not None
    assert (error.exit_code, error.message) == (1, "b failed")


def test_a_no_at_the_terminal_ends_it() -> None:
    names, error = worked({"b": Declined("nothing was changed"), "c": Refusal("never reached")})
    assert names == ["a", "b"]
    assert isinstance(error, Declined)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("yes", "terminal", "answer", "declined"),
    [
        (False, True, "n\n", True),
        (False, True, "y\n", False),
        (True, True, "n\n", False),
        (False, False, "n\n", False),
    ],
)
def test_a_question_is_asked_at_a_terminal_only(
    yes: bool, terminal: bool, answer: str, declined: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", (_Terminal if terminal else io.StringIO)(answer))
    ask = confirmation(yes)
    if declined:
        with pytest.raises(Declined, match="nothing was changed"):
            ask("go on?")
    else:
        ask("go on?")


def test_a_hint_never_shows_a_password() -> None:
    assert argument(DATABASES[0]) == "a"
    assert argument(DatabaseConfig("a", "dbname=a password=hunter2")) == "DSN"


def test_escape_sequences_of_jobs_do_not_reach_the_terminal() -> None:
    assert printable("a\x1b[31mb\tc\n\x00") == "a\\x1b[31mb\tc\n\\x00"
