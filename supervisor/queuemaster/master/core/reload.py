"""A reload under way: compile, start a template with the new configuration and code, then let it take over. Pure.

Until the new template is ready everything stays as it was; so a wrong file, or code that cannot be imported, changes
nothing at all.
"""

from __future__ import annotations

from dataclasses import dataclass

from .events import Plan


@dataclass
class Succession:
    """Where the reload is."""

    under_way: bool = False
    plan: Plan | None = None  # of the configuration that was compiled
    root_change: int = 0  # slots of root more than configured, by signals; a reload forgets it
    _again: bool = False

    def begin(self) -> bool:
        """Whether to compile now; a second request waits for the first."""
        if self.under_way:
            self._again = True
            return False
        self.under_way = True
        return True

    def succeed(self) -> Plan:
        """The new template is ready."""
        assert self.plan is not None
        plan, self.plan, self.under_way = self.plan, None, False
        self.root_change = 0
        return plan

    def give_up(self) -> None:
        """Nothing has changed."""
        self.plan, self.under_way = None, False

    def asked_again(self) -> bool:
        """Whether to begin anew; it has begun then."""
        again, self._again = self._again, False
        return again and self.begin()
