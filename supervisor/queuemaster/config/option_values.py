"""An option as a source writes it, and as it counts in the end; and the error when the configuration is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from queuemaster.config.dsn import MASK, mask_dsn, split_databases

SECRETS = frozenset(("http_password", "http_token", "db_password", "jobrunner_db_password"))


class ConfigurationError(Exception):
    """The configuration cannot be used. ``problems``: one message for each mistake."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True)
class OptionText:
    """An option as one source writes it."""

    option: str
    text: str
    source: str  # "--channels", "environment QUEUEMASTER_CHANNELS", "/etc/odoo.conf"

    def shown(self) -> str:
        """The text without its passwords."""
        if self.option in SECRETS:
            return MASK
        if self.option == "database":
            return ", ".join(mask_dsn(part) for part in split_databases(self.text))
        return self.text


@dataclass(frozen=True)
class OptionValue:
    """An option with the value in force: databases without passwords, durations in seconds, lists as lists."""

    option: str
    value: str | int | float | list[str]
    source: str
    meaning: str
