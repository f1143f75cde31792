"""The properties of a job as its caller gives them: checked, and in the form that is stored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Callable, Dict, Mapping, Optional, Tuple, Union

from .channel import complete
from .shared.amounts import seconds, size

DEFAULT_PRIORITY = 10
DEFAULT_MAX_RETRIES = 5

Eta = Union[None, int, float, timedelta, datetime]


@dataclass(frozen=True)
class Properties:
    """None: not given. ``eta`` is naive UTC, ``eta_seconds`` counts from now on the server's clock."""

    priority: Optional[int] = None
    eta: Optional[datetime] = None
    eta_seconds: Optional[float] = None
    max_retries: Optional[int] = None
    description: Optional[str] = None
    channel: Optional[str] = None
    identity_key: Union[str, Callable[[Any], Optional[str]], None] = None
    timeout: Optional[float] = None
    cpu: Optional[float] = None
    memory: Optional[int] = None


def parse(given: Mapping[str, Any]) -> Properties:
    """Check the properties of one job; ``ValueError`` names what is wrong and what was expected."""
    unknown = sorted(set(given) - set(NAMES))
    if unknown:
        raise ValueError(f"unknown job property {unknown[0]!r}; there are: {', '.join(NAMES)}")
    eta, eta_seconds = _eta(given)
    return Properties(
        eta=eta, eta_seconds=eta_seconds, **{name: check(given.get(name)) for name, check in _CHECKS.items()}
    )


def checked_text(name: str, value: Any) -> str:
    """A string that PostgreSQL can store."""
    if not isinstance(value, str):
        raise ValueError(f"{name}={value!r}: expected a string")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"{name}={value!r}: cannot be stored as UTF-8: {error}") from error
    if "\x00" in value:
        raise ValueError(f"{name}={value!r}: a NUL character cannot be stored")
    return value


def storable(text: str) -> str:
    """Any text as PostgreSQL takes it: NUL and lone surrogates escaped."""
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")


def _eta(given: Mapping[str, Any]) -> Tuple[Optional[datetime], Optional[float]]:
    parsed = {name: _moment(name, given[name]) for name in ("eta", "scheduled_at") if name in given}
    if len(parsed) == 2 and parsed["eta"] != parsed["scheduled_at"]:
        raise ValueError(
            f"eta={given['eta']!r} and scheduled_at={given['scheduled_at']!r} are two names of one property:"
            " give one of them"
        )
    return next(iter(parsed.values()), (None, None))


def _moment(name: str, value: Eta) -> Tuple[Optional[datetime], Optional[float]]:
    if value is None or (not isinstance(value, datetime) and not value):
        return None, None
    if isinstance(value, datetime):
        return (value.astimezone(timezone.utc).replace(tzinfo=None) if value.tzinfo else value), None
    wait = value.total_seconds() if isinstance(value, timedelta) else value
    # the server could not add more than this to its clock
    if isinstance(wait, (int, float)) and not isinstance(wait, bool) and abs(wait) < 1e11:
        return None, float(wait)
    raise ValueError(f"{name}={value!r}: expected a datetime, a timedelta or a number of seconds from now")


def _integer(name: str, lowest: int) -> Callable[[Any], Optional[int]]:
    def check(value: Any) -> Optional[int]:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value < 2**31:
            raise ValueError(f"{name}={value!r}: expected an integer of at least {lowest}, below 2**31")
        return value

    return check


def _description(value: Any) -> Optional[str]:
    return checked_text("description", value) if value else None


def _channel(value: Any) -> Optional[str]:
    return complete(checked_text("channel", value)) if value else None


def _identity_key(value: Any) -> Any:
    if not value or callable(value):
        return value or None
    return checked_text("identity_key", value)


def _if_given(check: Callable[[str, Any], Any], name: str) -> Callable[[Any], Any]:
    return lambda value: None if value is None else check(name, value)


_CHECKS: Dict[str, Callable[[Any], Any]] = {
    "priority": _integer("priority", -(2**31)),
    "max_retries": _integer("max_retries", 0),
    "description": _description,
    "channel": _channel,
    "identity_key": _identity_key,
    "timeout": _if_given(seconds, "timeout"),
    "cpu": _if_given(seconds, "cpu"),
    "memory": _if_given(size, "memory"),
}
NAMES = (
    "priority",
    "eta",
    "scheduled_at",
    "max_retries",
    "description",
    "channel",
    "identity_key",
    "timeout",
    "cpu",
    "memory",
)
