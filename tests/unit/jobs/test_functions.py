"""Declarations of job functions: checked, merged, inherited."""

from __future__ import annotations

from typing import Any

import pytest

from queuejobs import JobFunction, Model, NoSuchMethodError, NoSuchModelError, job_function
from queuejobs.functions import find_method, lookup
from queuejobs.registry import find


class Base(Model):
    _name = "test.functions.base"

    @job_function(channel="sale", timeout=30)
    @job_function(channel="export", retry_pattern={1: 10, 5: (20, 40)})
    def export(self) -> None: ...

    def plain(self) -> None: ...


class Child(Base):
    _name = "test.functions.child"

    @job_function(on_error="retry")
    def export(self) -> None: ...


def test_what_is_declared_twice_is_merged_and_the_later_wins() -> None:
    assert lookup("test.functions.base", "export") == JobFunction(
        channel="root.sale", timeout=30, retry_pattern={1: 10, 5: (20, 40)}
    )


def test_a_method_inherits_its_declaration() -> None:
    function = lookup("test.functions.child", "export")
    assert (function.channel, function.timeout, function.on_error) == ("root.sale", 30, "retry")


def test_somebody_elses_method_is_declared_by_its_name_and_heirs_get_it() -> None:
    job_function("<test.functions.base>.plain", channel="root.night")
    job_function("<test.functions.base>.plain", timeout=5)
    assert lookup("test.functions.child", "plain") == JobFunction(channel="root.night", timeout=5)
    job_function("<test.functions.child>.plain", channel="day")
    assert lookup("test.functions.child", "plain") == JobFunction(channel="root.day", timeout=5)
    assert lookup("test.functions.base", "plain").channel == "root.night"


def test_a_size_is_declared_in_bytes_or_with_a_unit() -> None:
    job_function("<test.functions.base>.plain", memory="1.5G", cpu=2)
    function = lookup("test.functions.base", "plain")
    assert (function.memory, function.cpu) == (3 * 2**29, 2.0)
    job_function("<test.functions.base>.plain", memory=4096)
    assert lookup("test.functions.base", "plain").memory == 4096


def test_nothing_declared_is_the_defaults() -> None:
    assert lookup("test.functions.nowhere", "x") == JobFunction()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"chanel": "x"}, "unknown setting 'chanel'"),
        ({"channel": "a b"}, "channel 'a b'"),
        ({"channel": "a..b"}, "joined by dots"),
        ({"retry_pattern": [1]}, "retry_pattern"),
        ({"retry_pattern": {"1": 10}}, "the key '1'"),
        ({"retry_pattern": {1: "10"}}, "is no delay"),
        ({"retry_pattern": {1: (20, 10)}}, "is no delay"),
        ({"retry_pattern": {1: (1, 2, 3)}}, "is no delay"),
        ({"retry_pattern": {1: -1}}, "is no delay"),
        ({"related_action": {"function": "x"}}, "unknown key 'function'"),
        ({"related_action": {"enable": "yes"}}, "expected a bool"),
        ({"on_fail_method": 3}, "on_fail_method"),
        ({"on_error": "ignore"}, "'fail' or 'retry'"),
        ({"timeout": -1}, "timeout=-1: expected a number of seconds"),
        ({"cpu": "10"}, "cpu='10': expected a number of seconds"),
        ({"memory": "much"}, "memory='much': expected a size"),
        ({"memory": 1.5}, "memory=1.5: expected a size"),
        ({"allow_commit": "yes"}, "allow_commit"),
        ({"isolation": "chaos"}, "isolation"),
    ],
)
def test_a_wrong_declaration_is_refused_where_it_is_made(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        job_function(**settings)


def test_a_name_of_the_wrong_form_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected '<model.name>.method_name'"):
        job_function("res.partner.export", channel="x")


def test_what_is_not_there_is_named_beside_what_is() -> None:
    with pytest.raises(NoSuchModelError, match=r"test\.functions\.nowhere.*test\.functions\.base"):
        find("test.functions.nowhere")
    with pytest.raises(NoSuchMethodError, match=r"no method 'exprot'; it has: .*export"):
        find_method(Base, "exprot")


def test_a_subclass_with_the_same_name_takes_the_place_of_its_model() -> None:
    class Extended(Base):
        _name = "test.functions.base"

    try:
        assert find("test.functions.base") is Extended
        assert lookup("test.functions.base", "export").channel == "root.sale"
        with pytest.raises(ValueError, match="inherit from it"):
            type("Stranger", (Model,), {"_name": "test.functions.base"})
    finally:
        type("Base", (Extended,), {"_name": "test.functions.base"})
