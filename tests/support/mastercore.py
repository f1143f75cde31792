"""The core of a master as unit tests drive it: events go in, actions come out, time is a number."""

from __future__ import annotations

import signal
from typing import TypeVar

from queuemaster.master.core import events as ev
from queuemaster.master.core.events import Limits, Plan, Role
from queuemaster.master.core.supervision import Supervision

GRACE, BOOT = 30.0, 20.0
DIED, LEFT = int(signal.SIGKILL), 0
PIDS = {Role.SERVER: 10, Role.TEMPLATE: 11, Role.DISPATCHER: 12, Role.EXPORTER: 13}
A = TypeVar("A", bound=ev.Action)


def of(kind: type[A], actions: list[ev.Action]) -> list[A]:
    return [action for action in actions if isinstance(action, kind)]


class World:
    """The core of a master, and its clock."""

    def __init__(
        self, *roles: Role, pools: dict[str, int] | None = None, most: int = 8, exporter: bool = False
    ) -> None:
        self.now = 100.0
        plan = Plan(pools or {"root": 1}, most, Limits(GRACE, BOOT, 5.0), exporter)
        self.core = Supervision(roles, plan, 16)

    def tell(self, *events: ev.Event) -> list[ev.Action]:
        """Handle the events at the current time; return the actions."""
        return [action for event in events for action in self.core.handle(event, self.now)]

    def after(self, seconds: float) -> list[ev.Action]:
        self.now += seconds
        return self.tell(ev.Tick())

    def greet(self, fork: ev.Fork, pid: int) -> list[ev.Action]:
        """A requested worker was forked and says hello."""
        return self.tell(
            ev.Named(fork.entry, fork.generation, pid), ev.Hello(fork.entry, fork.generation, pid, pid)
        )


def up(
    pools: dict[str, int] | None = None, most: int = 8, exporter: bool = False
) -> tuple[World, list[ev.Fork]]:
    """A master with template and dispatcher, and the workers that it has requested."""
    world = World(Role.TEMPLATE, Role.DISPATCHER, pools=pools, most=most, exporter=exporter)
    world.tell(ev.Tick(), *(ev.Started(role, PIDS[role]) for role in (Role.TEMPLATE, Role.DISPATCHER)))
    forks = of(ev.Fork, world.tell(ev.Ready(Role.DISPATCHER), ev.Ready(Role.TEMPLATE)))
    return world, forks
