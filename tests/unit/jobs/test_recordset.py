"""A recordset holds ids and an environment."""

from __future__ import annotations

import pytest

from queuejobs import Environment, Model


class Thing(Model):
    _name = "test.recordset.thing"


ENV = Environment(None, 3, 2, {"lang": "fr"})
THINGS = ENV["test.recordset.thing"]


def test_ids_iteration_slices_and_length() -> None:
    things = THINGS.browse([3, 1, 2])
    assert things.ids == [3, 1, 2]
    assert [thing.id for thing in things] == [3, 1, 2]
    assert (things[1:].ids, things[0].ids, len(things), bool(THINGS)) == ([1, 2], [3], 3, False)
    assert (THINGS.browse(5).ids, THINGS.browse(None).ids, THINGS.id) == ([5], [], None)


def test_equality_is_about_the_records() -> None:
    assert THINGS.browse([1, 2]) == THINGS.browse([2, 1]).with_context(lang="de")
    assert THINGS.browse(1) != THINGS.browse(2)
    assert len({THINGS.browse(1), THINGS.browse(1)}) == 1
    assert THINGS.browse(1) in THINGS.browse([1, 2])


def test_one_record_or_an_error() -> None:
    assert THINGS.browse(4).ensure_one().id == 4
    with pytest.raises(ValueError, match=r"expected one record, got 2: test\.recordset\.thing\(1, 2\)"):
        THINGS.browse([1, 2]).ensure_one()


def test_the_environment_is_replaced_not_changed() -> None:
    other = THINGS.browse(1).with_context(tz="UTC").with_user(9).with_company(5)
    assert dict(other.env.context) == {"lang": "fr", "tz": "UTC"}
    assert (other.env.user_id, other.env.company_id, other.ids) == (9, 5, [1])
    assert (ENV.user_id, dict(ENV.context)) == (3, {"lang": "fr"})
    assert dict(THINGS.with_context({}, a=1).env.context) == {"a": 1}


def test_only_methods_can_be_delayed() -> None:
    for name in ("ids", "env", "nothing"):
        with pytest.raises(AttributeError, match="only methods can be delayed"):
            getattr(THINGS.with_delay(), name)
        with pytest.raises(AttributeError, match="only methods can be delayed"):
            getattr(THINGS.delayable(), name)
