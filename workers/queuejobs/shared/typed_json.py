"""Reads what JSON gives into frozen dataclasses, by their annotations: nothing of another type gets through.

JSON comes from other processes, perhaps of another version, so it may be anything at all.
"""

from __future__ import annotations

import enum
import math
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, Callable, Dict, Tuple, Type, Union, get_type_hints

from .job_key import Key

_LEAST_INTEGER, _GREATEST_INTEGER = -(2**63), 2**64 - 1  # what a bigint or a word of the scoreboard may hold


class WrongType(Exception):
    """A value is not what its type says; the text says where and what was expected."""


def _read_integer(value: Any) -> int:
    if type(value) is not int or not _LEAST_INTEGER <= value <= _GREATEST_INTEGER:
        raise WrongType("expected an integer of 64 bits")
    return value


def _read_number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise WrongType("expected a finite number")
    return float(value)


def _read_text(value: Any) -> str:
    if not isinstance(value, str):
        raise WrongType("expected a text")
    return value


def _read_flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise WrongType("expected true or false")
    return value


def _read_key(value: Any) -> Key:
    if not isinstance(value, list) or len(value) != 3:
        raise WrongType("expected a key: priority, creation, id")
    return _read_integer(value[0]), _read_text(value[1]), _read_integer(value[2])


def _read_amounts(value: Any) -> Dict[str, int]:
    if not isinstance(value, dict):
        raise WrongType("expected an object of integers")
    return {name: _read_integer(amount) for name, amount in value.items()}


Reader = Callable[[Any], Any]


def reader_of(annotation: Any) -> Reader:
    """The function that reads a value of the annotated type, made once: it raises :class:`WrongType`."""
    options: Tuple[Any, ...] = getattr(annotation, "__args__", ())
    if getattr(annotation, "__origin__", None) is Union:  # Optional
        read = reader_of(options[0])
        return lambda value: None if value is None else read(value)
    if is_dataclass(annotation):
        return _object_reader(annotation)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _member_reader(annotation)
    return _BY_ANNOTATION[annotation]


_BY_ANNOTATION: Dict[Any, Reader] = {
    int: _read_integer,
    float: _read_number,
    str: _read_text,
    bool: _read_flag,
    Key: _read_key,
    Dict[str, int]: _read_amounts,
}


def _member_reader(kind: Type[enum.Enum]) -> Reader:
    members = {member.value: member for member in kind}

    def read(value: Any) -> enum.Enum:
        if not isinstance(value, str) or value not in members:
            raise WrongType(f"expected one of {', '.join(map(str, members))}")
        return members[value]

    return read


def _object_reader(kind: Any) -> Reader:
    hints = get_type_hints(kind)
    attributes = [(field.name, reader_of(hints[field.name]), field) for field in fields(kind)]

    def read(document: Any) -> Any:
        if not isinstance(document, dict):
            raise WrongType(f"expected an object for {kind.__name__}")
        values = []
        name = ""
        try:
            for name, reader, field in attributes:
                value = document.get(name, MISSING)
                values.append(_default(field) if value is MISSING else reader(value))
        except WrongType as error:
            raise WrongType(f"{kind.__name__}.{name}: {error}") from None
        except OverflowError:
            raise WrongType(f"{kind.__name__}.{name}: too large") from None
        return kind(*values)

    return read


def _default(field: Field[Any]) -> Any:
    """What a sender of older code means, which does not know the field."""
    if field.default is not MISSING:
        return field.default
    if field.default_factory is not MISSING:
        return field.default_factory()
    raise WrongType("is missing")
