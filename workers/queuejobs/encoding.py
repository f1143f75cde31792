"""Arguments of jobs as JSON and back. Never pickle: rows are read by other versions of the code.

What JSON lacks is a tagged object, ``{"_type": …}``. The tags are those of the Odoo addon, so its
rows can be read too. Tuples come back as lists, keys of dicts as strings: that is JSON's doing.
"""

from __future__ import annotations

import importlib
import json
import sys
from datetime import date, datetime
from typing import Any, Dict, List, Mapping, Sequence, Tuple, Union
from xml.etree import ElementTree

from .environment import Environment
from .recordset import Recordset

_TAGS = ("odoo_recordset", "datetime_isoformat", "date_isoformat", "etree_element")


def encode_call(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tuple[str, str]:
    """JSON of both; a value that cannot be encoded is a ``TypeError`` that names its argument."""
    try:
        return encode(args), encode(kwargs)
    except TypeError:
        for position, value in enumerate(args, start=1):
            _encode_argument(f"argument {position}", value)
        for name, value in kwargs.items():
            _encode_argument(f"argument {name!r}", value)
        raise


def encode(value: Any) -> str:
    """JSON text, in ASCII. ``TypeError`` for what cannot be encoded, NaN and infinity included."""
    encoder = _Encoder(allow_nan=False)
    try:
        text = encoder.encode(list(value) if isinstance(value, tuple) else value)
    except (ValueError, RecursionError) as error:  # NaN; a value that contains itself
        raise TypeError(str(error)) from error
    if text.count('"_type"') != encoder.tagged:
        _refuse_tags(value)
    return text


def records_value(records: Recordset) -> Dict[str, Any]:
    """The tagged object of a recordset, with the part of its context that may travel."""
    return {
        "_type": "odoo_recordset",
        "model": records._name,
        "ids": records.ids,
        "uid": records.env.user_id,
        "su": records.env.su,
        "context": records._job_prepare_context_before_enqueue(),
    }


def decode(value: Union[str, Any], env: Environment) -> Any:
    """The inverse of :func:`encode`, from text or from parsed JSON.

    Recordsets get the user and context they were stored with, and the cursor, company and further
    context (``job_uuid``) of ``env``.
    """
    if isinstance(value, str):
        return json.loads(value, object_hook=lambda found: _decode_tagged(found, env))
    return _decode_parsed(value, env)


class _Encoder(json.JSONEncoder):
    tagged = 0

    def default(self, value: Any) -> Any:
        tagged = _tag(value)
        if tagged is None:
            return super().default(value)
        self.tagged += 1
        return tagged


def _tag(value: Any) -> Any:
    if isinstance(value, Recordset):
        return records_value(value)
    if isinstance(value, datetime):  # before date: it is one, too
        return {"_type": "datetime_isoformat", "value": value.isoformat()}
    if isinstance(value, date):
        return {"_type": "date_isoformat", "value": value.isoformat()}
    if isinstance(value, ElementTree.Element):
        text = ElementTree.tostring(value, encoding="unicode")
        return {"_type": "etree_element", "value": text, "library": "xml"}
    lxml = sys.modules.get("lxml.etree")  # who has such an element has imported it
    if lxml is not None and isinstance(value, lxml._Element):
        return {"_type": "etree_element", "value": lxml.tostring(value, encoding="unicode")}
    return None


def _encode_argument(label: str, value: Any) -> None:
    try:
        encode(value)
    except TypeError as error:
        raise TypeError(
            f"{label} ({_short(value)}) cannot be stored with a job: {error}."
            " Jobs take what JSON has, recordsets, dates, datetimes and XML elements"
        ) from error


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except Exception as error:  # somebody else's __repr__, while an error is being reported
        return f"{type(value).__name__}, repr failed: {error}"
    return text if len(text) <= 80 else text[:77] + "…"


def _refuse_tags(value: Any) -> None:
    # a plain dict that looks like a tagged one would come back as something else
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            if item.get("_type") in _TAGS:
                raise TypeError(f"a dict with the key '_type' and the value {item['_type']!r} is reserved")
            stack.extend(item.values())
        elif isinstance(item, (list, tuple)):
            stack.extend(item)


def _decode_parsed(value: Any, env: Environment) -> Any:
    if isinstance(value, dict):
        return _decode_tagged({key: _decode_parsed(item, env) for key, item in value.items()}, env)
    if isinstance(value, list):
        items: List[Any] = [_decode_parsed(item, env) for item in value]
        return items
    return value


def _decode_tagged(found: Dict[str, Any], env: Environment) -> Any:
    tag = found.get("_type")
    if tag == "odoo_recordset":
        context = {**(found.get("context") or {}), **env.context}
        user_id = found.get("uid")
        own = env(user_id=user_id, context=context, su=bool(found.get("su")))
        return own[found["model"]].browse(found["ids"])
    if tag == "datetime_isoformat":
        return datetime.fromisoformat(found["value"])
    if tag == "date_isoformat":
        return date.fromisoformat(found["value"])
    if tag == "etree_element":
        return _element(found)
    return found


def _element(found: Dict[str, Any]) -> Any:
    if found.get("library") == "xml":
        return ElementTree.fromstring(found["value"])
    # the application's library, never a dependency of ours: nobody imports it who has no such argument
    lxml = importlib.import_module("lxml.etree")
    return lxml.fromstring(found["value"])
