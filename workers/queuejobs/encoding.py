"""Arguments of jobs as JSON and back. Never pickle: rows are read by other versions of the code.

A value that JSON has no form for becomes a tagged object, ``{"_type": …}``. The tags are those of the
Odoo addon, so that its rows can be read too. As with any JSON, tuples come back as lists and the keys of
dicts as strings.
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
    """The JSON texts of ``args`` and ``kwargs``; ``TypeError`` names the argument that cannot be encoded."""
    try:
        return encode(args), encode(kwargs)
    except TypeError:
        for position, value in enumerate(args, start=1):
            _encode_argument(f"argument {position}", value)
        for name, value in kwargs.items():
            _encode_argument(f"argument {name!r}", value)
        raise


def encode(value: Any) -> str:
    """The value as JSON text, in ASCII. ``TypeError`` if it cannot be encoded, as NaN and infinity cannot."""
    encoder = _Encoder(allow_nan=False)
    try:
        text = encoder.encode(list(value) if isinstance(value, tuple) else value)
    except (ValueError, RecursionError) as error:  # NaN; a value that contains itself
        raise TypeError(str(error)) from error
    if text.count('"_type"') != encoder.tagged:
        _refuse_tags(value)
    return text


def records_value(records: Recordset) -> Dict[str, Any]:
    """The tagged object of a recordset, with the part of its context that its model lets into a job."""
    return {
        "_type": "odoo_recordset",
        "model": records._name,
        "ids": records.ids,
        "uid": records.env.user_id,
        "su": records.env.su,
        "context": records._job_prepare_context_before_enqueue(),
    }


def decode(value: Union[str, Any], env: Environment) -> Any:
    """The inverse of :func:`encode`, from JSON text or from parsed JSON.

    Recordsets get the user and the context that were stored, and the cursor and company of ``env``. The context
    of ``env`` (a running job's has ``job_uuid``) is merged into the stored one and wins.
    ``NoSuchModelError`` for a recordset of an unknown model, ``ValueError`` for malformed JSON.
    """
    if isinstance(value, str):
        return json.loads(value, object_hook=lambda item: _decode_tagged(item, env))
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
    if isinstance(value, datetime):  # before date, since a datetime is a date too
        return {"_type": "datetime_isoformat", "value": value.isoformat()}
    if isinstance(value, date):
        return {"_type": "date_isoformat", "value": value.isoformat()}
    if isinstance(value, ElementTree.Element):
        text = ElementTree.tostring(value, encoding="unicode")
        return {"_type": "etree_element", "value": text, "library": "xml"}
    lxml = sys.modules.get("lxml.etree")  # not imported: then the value is no element of it
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
    except Exception as error:  # the application's __repr__ must not hide the error that is being reported
        return f"{type(value).__name__}, repr failed: {error}"
    return text if len(text) <= 80 else text[:77] + "…"


def _refuse_tags(value: Any) -> None:
    # decoding would turn a plain dict that looks like a tagged object into something else
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


def _decode_tagged(item: Dict[str, Any], env: Environment) -> Any:
    """The value of a tagged object; any other dict comes back as it is."""
    tag = item.get("_type")
    if tag == "odoo_recordset":
        context = {**(item.get("context") or {}), **env.context}
        records_env = env(user_id=item.get("uid"), context=context, su=bool(item.get("su")))
        return records_env[item["model"]].browse(item["ids"])
    if tag == "datetime_isoformat":
        return datetime.fromisoformat(item["value"])
    if tag == "date_isoformat":
        return date.fromisoformat(item["value"])
    if tag == "etree_element":
        return _element(item)
    return item


def _element(item: Dict[str, Any]) -> Any:
    if item.get("library") == "xml":
        return ElementTree.fromstring(item["value"])
    # lxml is the application's library, not a dependency of ours: import it only for an argument that needs it
    lxml = importlib.import_module("lxml.etree")
    return lxml.fromstring(item["value"])
