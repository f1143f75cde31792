"""``with_delay`` and ``delayable``: a method call that is kept instead of made."""

from __future__ import annotations

import logging
from typing import Any, Callable, Dict, Mapping, Optional

from . import properties as props
from .enqueue import Call, prepare
from .job import Job
from .recordset import Recordset

_logger = logging.getLogger(__name__)


class Delayable:
    """A call to be. Calling a method of its recordset on it captures the call; ``delay()`` stores it.

    Every method but ``delay`` returns the delayable itself.
    """

    def __init__(self, records: Recordset, **properties: Any) -> None:
        self.records = records
        self._given: Dict[str, Any] = {}
        self._call: Optional[Call] = None
        self._is_used = False
        self.set(**properties)

    def set(self, *mappings: Mapping[str, Any], **properties: Any) -> Delayable:
        """Set properties, as keywords or as a dict; an unknown one is ``ValueError``."""
        given = dict(self._given)
        for mapping in mappings:
            given.update(mapping)
        given.update(properties)
        props.parse(given)
        self._given = given
        return self

    def delay(self) -> Job:
        """Store the job in the transaction of the recordset's environment."""
        return self.records.env.delay_many([self])[0]  # type: ignore[no-any-return]

    def __getattr__(self, method_name: str) -> Callable[..., Delayable]:
        require_method(self.records, method_name)

        def capture(*args: Any, **kwargs: Any) -> Delayable:
            self._call = Call(self.records, method_name, args, kwargs)
            return self

        return capture

    def __del__(self) -> None:
        # read from __dict__: the constructor may have failed half way
        if not self.__dict__.get("_is_used", True):
            _logger.warning("%r was prepared but never delayed", self)

    def __repr__(self) -> str:
        call = self.__dict__.get("_call")
        method = f".{call.method_name}" if call else ""
        return f"Delayable({self.__dict__.get('records')!r}{method})"


class DelayProxy:
    """What ``with_delay()`` returns: calling a method of the recordset on it stores a job at once."""

    def __init__(self, records: Recordset, **properties: Any) -> None:
        props.parse(properties)
        self._records = records
        self._properties = properties

    def __getattr__(self, method_name: str) -> Callable[..., Job]:
        require_method(self._records, method_name)

        def enqueue(*args: Any, **kwargs: Any) -> Job:
            delayable = Delayable(self._records, **self._properties)
            delayable._call = Call(self._records, method_name, args, kwargs)
            return delayable.delay()

        return enqueue


def require_method(records: Recordset, name: str) -> None:
    """``AttributeError`` unless ``name`` is a method of the recordset's model."""
    if name.startswith("__") or not callable(getattr(type(records), name, None)):
        raise AttributeError(f"only methods can be delayed: {records._name!r} has no method {name!r}")


def job_of(delayable: Delayable) -> Job:
    """The job that a delayable describes, not stored yet."""
    delayable._is_used = True  # it was tried: the error, if there is one, says enough
    if delayable._call is None:
        raise ValueError(f"{delayable!r} has no method to run: call one on it before delay()")
    return prepare(delayable._call, props.parse(delayable._given))
