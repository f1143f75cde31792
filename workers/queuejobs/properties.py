"""Check the properties that a caller gives a job, and bring them into the form in which they are stored."""

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
    """The properties of one job; None means not given. At most one of ``eta`` and ``eta_seconds`` is set."""

    priority: Optional[int] = None
    eta: Optional[datetime] = None  # naive, in UTC
    eta_seconds: Optional[float] = None  # from now, by the database server's clock
    max_retries: Optional[int] = None  # 0: no limit
    description: Optional[str] = None
    channel: Optional[str] = None  # complete, from root down
    identity_key: Union[str, Callable[[Any], Optional[str]], None] = None  # or a function of the job
    timeout: Optional[float] = None  # seconds
    cpu: Optional[float] = None  # seconds
    memory: Optional[int] = None  # bytes


def parse(options: Mapping[str, Any]) -> Properties:
    """Check the properties of one job; ``ValueError`` names the wrong one and what was expected."""
    unknown = sorted(set(options) - set(NAMES))
    if unknown:
        raise ValueError(f"unknown job property {unknown[0]!r}; there are: {', '.join(NAMES)}")
    eta, eta_seconds = _eta(options)
    checked = {name: check(options.get(name)) for name, check in _CHECKS.items()}
    return Properties(eta=eta, eta_seconds=eta_seconds, **checked)


def checked_text(name: str, value: Any) -> str:
    """The value, if it is a string that PostgreSQL can store; ``ValueError`` names the property."""
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
    """The text with NUL characters and lone surrogates escaped, which PostgreSQL cannot store."""
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")


def _eta(options: Mapping[str, Any]) -> Tuple[Optional[datetime], Optional[float]]:
    parsed = {name: _moment(name, options[name]) for name in ("eta", "scheduled_at") if name in options}
    if len(parsed) == 2 and parsed["eta"] != parsed["scheduled_at"]:
        raise ValueError(
            f"eta={options['eta']!r} and scheduled_at={options['scheduled_at']!r} are two names of one"
            " property: give one of them"
        )
    return next(iter(parsed.values()), (None, None))


def _moment(name: str, value: Eta) -> Tuple[Optional[datetime], Optional[float]]:
    if value is None or (not isinstance(value, datetime) and not value):
        return None, None
    if isinstance(value, datetime):
        return (value.astimezone(timezone.utc).replace(tzinfo=None) if value.tzinfo else value), None
    wait = value.total_seconds() if isinstance(value, timedelta) else value
    # PostgreSQL cannot add more than this to the current time
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
