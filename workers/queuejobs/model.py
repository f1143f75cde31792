"""What applications derive from: models whose methods can be delayed, and the queue as one of them."""

from __future__ import annotations

from typing import Any, Iterable, List

from . import registry
from .delay import Delayable, DelayProxy, delay_many
from .environment import QUEUE
from .graph import Node
from .recordset import Recordset


class Model(Recordset):
    """A model of the application. A class with a ``_name``, its own or inherited, is registered.

    A subclass of a registered model that has the same ``_name`` extends it and takes its place.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls._name:
            registry.register(cls._name, cls)

    def with_delay(self, **properties: Any) -> Any:
        """``record.with_delay(priority=5).method(…)`` stores a job and returns it.

        Properties: priority, eta (or scheduled_at), max_retries, description, channel,
        identity_key, timeout.
        """
        return DelayProxy(self, **properties)

    def delayable(self, **properties: Any) -> Any:
        """``record.delayable().method(…)``: a :class:`Delayable`, stored by its ``delay()``."""
        return Delayable(self, **properties)


class Queue(Recordset):
    """The queue itself: ``env["queue.job"]``."""

    _name = QUEUE

    def delay_many(self, delayables: Iterable[Node]) -> List[Any]:
        """Store any number of delayables with one INSERT; their jobs, in the same order."""
        return delay_many(self.env, delayables)


registry.register(QUEUE, Queue)
