"""A reload: compile the configuration, start a template with it and the new code, let that template take over. Pure.

Nothing changes until the new template is ready. So a wrong file, or code that cannot be imported, has no effect at all.
"""

from __future__ import annotations

from dataclasses import dataclass

from .events import Plan


@dataclass
class Succession:
    """How far the reload is, if there is one. A reload that is asked for meanwhile is queued."""

    under_way: bool = False
    plan: Plan | None = None  # of the new configuration, once it is compiled
    root_change: int = 0  # slots of root more than configured, by signals; a reload sets it to 0
    _queued: bool = False

    def begin(self) -> bool:
        """Starts a reload, or queues it if one is under way; true if it did start one."""
        if self.under_way:
            self._queued = True
            return False
        self.under_way = True
        return True

    def succeed(self) -> Plan:
        """The new template is ready; returns the plan that is in force from now on."""
        assert self.plan is not None
        plan, self.plan, self.under_way = self.plan, None, False
        self.root_change = 0
        return plan

    def give_up(self) -> None:
        """The reload failed: the old plan stays in force."""
        self.plan, self.under_way = None, False

    def begin_queued(self) -> bool:
        """Starts a queued reload; true if it did."""
        queued, self._queued = self._queued, False
        return queued and self.begin()
