"""Search jobs by conditions. Names are checked, values become parameters of the statement."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, List, Optional, Sequence, Tuple

from .jobs import COLUMNS, DOCUMENTS, SELECTED

Condition = Tuple[str, str, Any]

_OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "in", "not in", "like")


def select(domain: Sequence[Condition], limit: Optional[int], order: str) -> Tuple[str, List[Any]]:
    """The statement that searches, and its parameters. ``ValueError`` says what is wrong, and which names there are."""
    conditions, values = [], []
    for condition in domain:
        sql, value = _condition(condition)
        conditions.append(sql)
        values.extend(value)
    where = f" where {' and '.join(conditions)}" if conditions else ""
    statement = f"select {SELECTED} from queuemaster.queue_job{where} order by {_order(order)}"
    if limit is not None:
        statement += " limit %s"
        values.append(limit)
    return statement, values


def _condition(condition: Any) -> Tuple[str, List[Any]]:
    if not isinstance(condition, (tuple, list)) or len(condition) != 3:
        raise ValueError(f"search: {condition!r} is no condition: expected (column, operator, value)")
    column, operator, value = condition
    expression = _column(column)
    if operator not in _OPERATORS:
        raise ValueError(f"search: unknown operator {operator!r}; there are: {', '.join(_OPERATORS)}")
    if operator in ("in", "not in"):
        test, values = _one_of(expression, list(value))
        # a job without a value is "not in", which SQL alone would leave out
        return (test if operator == "in" else f"coalesce(not {test}, true)"), values
    if operator == "like":
        return f"{expression}::text like %s", [f"%{value}%"]
    if operator == "!=":
        return f"{expression} is distinct from %s", [_value(value)]
    if operator == "=" and value is None:
        return f"{expression} is null", []
    return f"{expression} {operator} %s", [_value(value)]


def _one_of(expression: str, items: List[Any]) -> Tuple[str, List[Any]]:
    values = [_value(item) for item in items if item is not None]
    tests = [f"{expression} = any(%s)"] if values else []
    if len(values) < len(items):
        tests.append(f"{expression} is null")
    return f"({' or '.join(tests) or 'false'})", [values] if values else []


def _column(name: Any) -> str:
    if name not in COLUMNS:
        raise ValueError(f"search: a job has no column {name!r}; it has: {', '.join(COLUMNS)}")
    return f"{name}::text" if name in DOCUMENTS else str(name)


def _value(value: Any) -> Any:
    if isinstance(value, datetime) and value.tzinfo:
        return value.astimezone(timezone.utc).replace(tzinfo=None)
    return value


def _order(order: str) -> str:
    terms = []
    for term in order.split(","):
        name, _, direction = term.strip().partition(" ")
        direction = direction.strip().lower()
        if direction not in ("", "asc", "desc"):
            raise ValueError(
                f"search: order {term.strip()!r}: expected a column, then asc or desc or nothing"
            )
        terms.append(f"{_column(name)} {direction}".strip())
    return ", ".join(terms)
