"""Job functions: what is declared for a method as a job, beside the method or by its name.

Declarations merge: along the classes that a model is made of from base to derived, in each class
the decorator first and then what was declared by the model's name. The later wins, key by key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, TypeVar, Union, overload

from . import registry
from .channel import complete
from .exception import NoSuchMethodError
from .shared.amounts import seconds, size

_ATTRIBUTE = "_queuejobs_declared"
_NAME = re.compile(r"<([^<>\s]+)>\.([A-Za-z_]\w*)\Z")
_ISOLATIONS = ("read committed", "repeatable read", "serializable")
_by_name: Dict[Tuple[str, str], Dict[str, Any]] = {}

Delay = Union[int, float, Tuple[float, float]]
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class JobFunction:
    """Everything declared for one method. Seconds where a time is meant."""

    channel: Optional[str] = None  # complete; None: root
    retry_pattern: Mapping[int, Delay] = field(default_factory=dict)
    related_action: Mapping[str, Any] = field(default_factory=dict)
    on_fail_method: Optional[str] = None  # called in a fresh transaction after the final failure
    on_error: Optional[str] = None  # "fail", "retry"; None: the channel's or the service's
    timeout: Optional[float] = None
    cpu: Optional[float] = None  # processor time, of its processes together
    memory: Optional[int] = None  # bytes; declared as such or as "512M"
    allow_commit: bool = False  # may end the transaction itself, and with it exactly-once
    isolation: Optional[str] = None  # of the job's transaction; None: read committed


_KEYS = tuple(item.name for item in fields(JobFunction))


@overload
def job_function(name: None = None, **settings: Any) -> Callable[[Function], Function]: ...
@overload
def job_function(name: str, **settings: Any) -> None: ...
@overload
def job_function(name: Function) -> Function: ...
def job_function(name: Union[str, Callable[..., Any], None] = None, **settings: Any) -> Any:
    """Declare how a method runs as a job: the fields of :class:`JobFunction`, all optional.

    ``@job_function(channel="root.export")`` beside the method, or for a method of somebody else
    ``job_function("<res.partner>.export", channel="root.export")``. ``ValueError`` for a setting
    that does not exist or has a wrong value.
    """
    if callable(name):
        return name  # @job_function without parentheses declares nothing
    declared = validated(settings)
    if name is None:
        return lambda function: _declare_beside(function, declared)
    found = _NAME.match(name)
    if found is None:
        raise ValueError(f"job function {name!r}: expected '<model.name>.method_name'")
    _by_name.setdefault((found[1], found[2]), {}).update(declared)
    return None


def lookup(model_name: str, method_name: str) -> JobFunction:
    """What is declared for a method, by all that it inherits from; for an unknown model, nothing."""
    model = registry.get(model_name)
    return JobFunction() if model is None else of_class(model, method_name)


def of_class(model: type, method_name: str) -> JobFunction:
    """As :func:`lookup`, for a class at hand."""
    merged: Dict[str, Any] = {}
    for part in reversed(model.__mro__):
        own = vars(part)
        merged.update(getattr(own.get(method_name), _ATTRIBUTE, {}))
        merged.update(_by_name.get((own.get("_name", ""), method_name), {}))
    return JobFunction(**merged)


def find_method(model: type, method_name: str) -> Callable[..., Any]:
    """The function of a class, to be called with a recordset first."""
    method = getattr(model, method_name, None)
    if not callable(method):
        raise NoSuchMethodError(getattr(model, "_name", model.__name__), method_name, _methods(model))
    found: Callable[..., Any] = method
    return found


def validated(settings: Mapping[str, Any]) -> Dict[str, Any]:
    """The settings in their stored form; ``ValueError`` says which is wrong and what was expected."""
    unknown = sorted(set(settings) - set(_KEYS))
    if unknown:
        raise ValueError(f"job_function: unknown setting {unknown[0]!r}; there are: {', '.join(_KEYS)}")
    declared = dict(settings)
    for key, check in _CHECKS.items():
        if declared.get(key) is not None:
            declared[key] = check(declared[key])
    return declared


def _declare_beside(function: Function, declared: Dict[str, Any]) -> Function:
    setattr(function, _ATTRIBUTE, {**getattr(function, _ATTRIBUTE, {}), **declared})
    return function


def _methods(model: type) -> List[str]:
    return [name for name in dir(model) if not name.startswith("_") and callable(getattr(model, name, None))]


def _is_seconds(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < float("inf")


def _retry_pattern(pattern: Any) -> Dict[int, Delay]:
    expected = "expected {tries: seconds or (minimum, maximum)}, such as {1: 10, 5: (60, 120)}"
    if not isinstance(pattern, Mapping):
        raise ValueError(f"retry_pattern {pattern!r}: {expected}")
    checked: Dict[int, Delay] = {}
    for tries, delay in pattern.items():
        if isinstance(tries, bool) or not isinstance(tries, int) or tries < 0:
            raise ValueError(f"retry_pattern: the key {tries!r} is no number of tries; {expected}")
        pair = isinstance(delay, (tuple, list))
        bounds = tuple(delay) if pair else (delay,)
        if len(bounds) != (2 if pair else 1) or not all(map(_is_seconds, bounds)) or bounds[0] > bounds[-1]:
            raise ValueError(f"retry_pattern: {delay!r} after {tries} tries is no delay; {expected}")
        checked[tries] = (bounds[0], bounds[1]) if pair else bounds[0]
    return checked


def _related_action(action: Any) -> Dict[str, Any]:
    known = {"enable": bool, "func_name": str, "kwargs": dict}
    if not isinstance(action, Mapping):
        raise ValueError(f"related_action {action!r}: expected a dict with the keys {', '.join(known)}")
    for key, value in action.items():
        if key not in known:
            raise ValueError(f"related_action: unknown key {key!r}; there are: {', '.join(known)}")
        if not isinstance(value, known[key]):
            raise ValueError(f"related_action: {key}={value!r}: expected a {known[key].__name__}")
    return dict(action)


def _on_fail_method(name: Any) -> str:
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"on_fail_method {name!r}: expected the name of a method of the same model")
    return name


def _on_error(policy: Any) -> str:
    if policy not in ("fail", "retry"):
        raise ValueError(f"on_error {policy!r}: expected 'fail' or 'retry'")
    return str(policy)


def _allow_commit(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"allow_commit {value!r}: expected True or False")
    return value


def _isolation(level: Any) -> str:
    text = str(level).lower().replace("_", " ")
    if text not in _ISOLATIONS:
        raise ValueError(f"isolation {level!r}: expected one of {', '.join(_ISOLATIONS)}")
    return text


_CHECKS: Dict[str, Callable[[Any], Any]] = {
    "channel": complete,
    "retry_pattern": _retry_pattern,
    "related_action": _related_action,
    "on_fail_method": _on_fail_method,
    "on_error": _on_error,
    "timeout": partial(seconds, "timeout"),
    "cpu": partial(seconds, "cpu"),
    "memory": partial(size, "memory"),
    "allow_commit": _allow_commit,
    "isolation": _isolation,
}
