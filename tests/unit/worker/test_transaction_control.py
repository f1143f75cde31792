"""The statements that a job may not execute, and those that only look like them."""

from __future__ import annotations

import pytest

from queuejobs.worker.transaction_control import transaction_control


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("commit", "COMMIT"),
        ("  COMMIT work ;", "COMMIT"),
        ("end", "END"),
        ("abort", "ABORT"),
        ("begin", "BEGIN"),
        ("start\n transaction", "START TRANSACTION"),
        ("prepare transaction 'x'", "PREPARE TRANSACTION"),
        ("rollback", "ROLLBACK"),
        ("rollback work", "ROLLBACK"),
        ("-- that is it\ncommit", "COMMIT"),
        ("/* that is\nit */ commit", "COMMIT"),
        (";;commit", "COMMIT"),
        ("insert into t values (1); commit", "COMMIT"),
        ("insert into t values ('a;b'); -- so\n Rollback; select 1", "ROLLBACK"),
    ],
)
def test_what_ends_or_begins_a_transaction(statement: str, words: str) -> None:
    assert transaction_control(statement) == words


@pytest.mark.parametrize(
    "statement",
    [
        "",
        "select 1",
        "select 1; select 2;",
        "savepoint a",
        "rollback to a",
        "rollback to savepoint a",
        "ROLLBACK WORK TO SAVEPOINT a",
        "release savepoint a",
        "select commit from ends",
        "committed",
        "insert into t values ('first; commit')",
        "insert into t values ('it''s; commit')",
        'select "a; commit" from t',
        "create function f() returns void language plpgsql as $$ begin perform 1; end $$",
        "do $body$ begin perform 1; end $body$",
        "create function f() returns int begin atomic; select 1; end",
        "prepare plan as select 1",
        "end_of_day()",
    ],
)
def test_what_does_not(statement: str) -> None:
    assert transaction_control(statement) is None
