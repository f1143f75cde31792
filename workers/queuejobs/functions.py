"""Job functions: how a method runs as a job, declared with a decorator or by the name of model and method.

The declarations for a method merge, key by key, and the later wins: along the classes of the model from base
to derived, and in each class the decorator first, then the declaration by name.
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
    """Everything declared for one method. Times are in seconds; None means not declared."""

    channel: Optional[str] = None  # complete, from root down; None: root
    retry_pattern: Mapping[int, Delay] = field(default_factory=dict)  # by number of tries: the delay
    related_action: Mapping[str, Any] = field(default_factory=dict)  # keys: enable, func_name, kwargs
    on_fail_method: Optional[str] = None  # called in a fresh transaction after the final failure
    on_error: Optional[str] = None  # "fail" or "retry"; None: the policy of the channel or the service
    timeout: Optional[float] = None
    cpu: Optional[float] = None  # processor time of the job and its child processes together
    memory: Optional[int] = None  # bytes; may be declared as "512M"
    allow_commit: bool = False  # the job may end its transaction, which gives up exactly-once
    isolation: Optional[str] = None  # isolation level of the job's transaction; None: read committed


_KEYS = tuple(item.name for item in fields(JobFunction))


@overload
def job_function(name: None = None, **settings: Any) -> Callable[[Function], Function]: ...
@overload
def job_function(name: str, **settings: Any) -> None: ...
@overload
def job_function(name: Function) -> Function: ...
def job_function(name: Union[str, Callable[..., Any], None] = None, **settings: Any) -> Any:
    """Declare how a method runs as a job: the fields of :class:`JobFunction`, all optional.

    As a decorator, ``@job_function(channel="root.export")``, or for a method in somebody else's code by name,
    ``job_function("<res.partner>.export", channel="root.export")``. ``ValueError`` for an unknown setting or a
    wrong value.
    """
    if callable(name):
        return name  # @job_function without parentheses declares nothing
    declared = validated(settings)
    if name is None:
        return lambda function: _declare_on(function, declared)
    match = _NAME.match(name)
    if match is None:
        raise ValueError(f"job function {name!r}: expected '<model.name>.method_name'")
    _by_name.setdefault((match[1], match[2]), {}).update(declared)
    return None


def lookup(model_name: str, method_name: str) -> JobFunction:
    """The declarations for a method, merged along its model's base classes. For an unknown model: all defaults."""
    model = registry.get(model_name)
    return JobFunction() if model is None else of_class(model, method_name)


def of_class(model: type, method_name: str) -> JobFunction:
    """As :func:`lookup`, by the model's class instead of its name."""
    merged: Dict[str, Any] = {}
    for base in reversed(model.__mro__):
        attributes = vars(base)
        merged.update(getattr(attributes.get(method_name), _ATTRIBUTE, {}))
        merged.update(_by_name.get((attributes.get("_name", ""), method_name), {}))
    return JobFunction(**merged)


def find_method(model: type, method_name: str) -> Callable[..., Any]:
    """The method of a model's class, as a function of the recordset and the arguments. :class:`NoSuchMethodError`."""
    attribute = getattr(model, method_name, None)
    if not callable(attribute):
        raise NoSuchMethodError(getattr(model, "_name", model.__name__), method_name, _methods(model))
    method: Callable[..., Any] = attribute
    return method


def validated(settings: Mapping[str, Any]) -> Dict[str, Any]:
    """The settings with their values in normal form; ``ValueError`` says which is wrong and what was expected."""
    unknown = sorted(set(settings) - set(_KEYS))
    if unknown:
        raise ValueError(f"job_function: unknown setting {unknown[0]!r}; there are: {', '.join(_KEYS)}")
    declared = dict(settings)
    for key, check in _CHECKS.items():
        if declared.get(key) is not None:
            declared[key] = check(declared[key])
    return declared


def _declare_on(function: Function, declared: Dict[str, Any]) -> Function:
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
        is_range = isinstance(delay, (tuple, list))
        bounds = tuple(delay) if is_range else (delay,)
        is_complete = len(bounds) == (2 if is_range else 1)
        if not is_complete or not all(map(_is_seconds, bounds)) or bounds[0] > bounds[-1]:
            raise ValueError(f"retry_pattern: {delay!r} after {tries} tries is no delay; {expected}")
        checked[tries] = (bounds[0], bounds[1]) if is_range else bounds[0]
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
