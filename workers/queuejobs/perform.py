"""Make the call of a stored job. Transaction, state and errors are the worker's concern."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from .encoding import decode, encode
from .environment import Environment
from .functions import find_method
from .properties import storable
from .registry import find

LONGEST_RESULT = 64 * 1024  # bytes
_CUT = " … (cut)"


def perform(cursor: Any, row: Mapping[str, Any]) -> Optional[str]:
    """Make the call that a row of ``queue_job`` describes, on ``cursor``. Returns its return value as text.

    It runs as the user and company of the row, with ``job_uuid`` in the context of every recordset.
    :class:`NoSuchModelError` and :class:`NoSuchMethodError` are raised before the method is called.
    """
    return result_text(_call(cursor, row, row["method_name"]))


def perform_on_fail(cursor: Any, row: Mapping[str, Any], method_name: str) -> None:
    """Call ``method_name``, the ``on_fail_method`` of a failed job, on the job's records with its arguments."""
    _call(cursor, row, method_name)


def _call(cursor: Any, row: Mapping[str, Any], method_name: str) -> Any:
    find_method(find(row["model_name"]), method_name)
    env = Environment(cursor, row["user_id"], row["company_id"], {"job_uuid": row["uuid"]})
    records = decode(row["records"], env)
    args, kwargs = decode(row["args"], env), decode(row["kwargs"], env)
    return getattr(records, method_name)(*args, **kwargs)


def result_text(value: Any) -> Optional[str]:
    """A return value as text: a string as it is, else JSON, else ``str()``; None for None.

    Text of more than 64 KiB in UTF-8 is cut, and ends with a remark that says so.
    """
    if value is None:
        return None
    text = storable(value if isinstance(value, str) else _text(value))
    encoded = text.encode("utf-8")
    if len(encoded) <= LONGEST_RESULT:
        return text
    room = LONGEST_RESULT - len(_CUT.encode("utf-8"))
    return encoded[:room].decode("utf-8", "ignore") + _CUT


def _text(value: Any) -> str:
    try:
        return encode(value)
    except TypeError:
        return str(value)
