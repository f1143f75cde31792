"""Databases may be named in several ways; a password is never shown, however broken the DSN is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg2.extensions import make_dsn

from queuemaster.config.compiled import DatabaseConfig
from queuemaster.config.dsn import describe, mask_dsn, parse_databases, split_databases


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("sales", ["sales"]),
        ("sales, stock", ["sales", "stock"]),
        ("sales\nstock\n", ["sales", "stock"]),
        ("postgresql://a:1,b:2/sales", ["postgresql://a:1,b:2/sales"]),
        ("postgresql://a:1,b:2/sales,stock", ["postgresql://a:1,b:2/sales", "stock"]),
        ("host=a,b dbname=sales", ["host=a,b dbname=sales"]),
        ("dbname=sales host='a,b'", ["dbname=sales host='a,b'"]),
        ("host=a dbname=sales, host=b dbname=sales", ["host=a dbname=sales", "host=b dbname=sales"]),
        ("", []),
    ],
)
def test_several_databases_are_separated_by_commas_or_lines(text: str, parts: list[str]) -> None:
    assert split_databases(text) == parts


def test_a_bare_name_is_a_database_of_the_default_server() -> None:
    assert parse_databases("sales") == (DatabaseConfig("sales", "dbname=sales"),)


def test_a_database_is_called_by_its_name_and_by_its_place_when_that_is_not_enough() -> None:
    databases = parse_databases("postgresql://one/sales, postgresql://two:6000/sales, stock")
    assert [database.name for database in databases] == ["sales@one:5432", "sales@two:6000", "stock"]


def test_the_same_database_twice_is_served_once() -> None:
    assert len(parse_databases("postgresql://u@h/sales, host=h dbname=sales")) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("host=h", "names no database"),
        ("host=h dbnam=sales", 'invalid connection option "dbnam"'),
        ("my sales", "expected a name"),
        ("http://h/sales", "expected a name"),
        ("postgresql://u:pass/word@h/sales", "written %40 and %2F"),
        ("postgresql://u:p@ss@h/sales", "written %40 and %2F"),
        ("postgresql://u:secret/sales", "port is not a number"),
    ],
)
def test_what_is_no_database_is_refused_with_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_databases(text)


def test_a_description_has_host_port_and_database() -> None:
    (database,) = parse_databases("postgresql://odoo:secret@db1:6000/sales")
    assert describe(database) == "sales (host db1, port 6000, database sales, user odoo)"


passwords = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FF) | st.sampled_from("@:/?=%"), min_size=1
).map(lambda t: f"Kq{t}Zx")


@given(passwords)
def test_a_password_is_masked_in_keywords(password: str) -> None:
    masked = mask_dsn(make_dsn(host="h", dbname="sales", password=password))
    assert set(masked.split()) == {"host=h", "dbname=sales", "password=***"}


@given(passwords)
def test_a_password_is_masked_in_any_uri_also_a_broken_one(password: str) -> None:
    for uri in (f"postgresql://u:{password}@h/sales", f"postgresql://u:{password}@h:notaport/sales"):
        masked = mask_dsn(uri)
        assert password not in masked
        assert "Zx" not in masked


@given(passwords, st.sampled_from(["passwrd", "pwd", "secret", "dbpass"]))
def test_the_value_of_a_mistyped_keyword_is_not_shown(password: str, keyword: str) -> None:
    assert "Zx" not in mask_dsn(f"host=h {keyword}={password} dbname=sales")
    assert "Zx" not in mask_dsn(f"host=h password=two words{password} dbname=sales")
