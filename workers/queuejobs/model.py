"""The base class of an application's models, whose methods can be delayed."""

from __future__ import annotations

import functools
from typing import Any, Callable, Optional

from . import registry
from .delay import Delayable, DelayProxy
from .functions import find_method
from .recordset import Recordset
from .run_inline import is_bypassed


class Model(Recordset):
    """A model of the application: a subclass with a ``_name``, its own or inherited, is registered under it.

    A subclass of a registered model with the same ``_name`` extends that model and takes its place.
    ``ValueError`` if another class has the name already.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls._name:
            registry.register(cls._name, cls)

    def with_delay(self, **properties: Any) -> Any:
        """``record.with_delay(priority=5).method(…)`` stores a job and returns it.

        Properties, all optional: ``priority`` (the lowest runs first), ``eta`` or ``scheduled_at`` (a datetime,
        naive in UTC, a timedelta or a number of seconds from now), ``max_retries`` (0: no limit), ``description``,
        ``channel``, ``identity_key`` (text, or a function of the job), ``timeout`` and ``cpu`` (seconds),
        ``memory`` (bytes, or text such as "512M"). ``ValueError`` for an unknown property or a wrong value.
        """
        return DelayProxy(self, **properties)

    def delayable(self, **properties: Any) -> Any:
        """``record.delayable().method(…)``: a :class:`Delayable`, which its ``delay()`` stores as a job.

        Properties as for :meth:`with_delay`.
        """
        return Delayable(self, **properties)

    @classmethod
    def _patch_job_auto_delay(cls, method_name: str, context_key: Optional[str] = None) -> Callable[..., Any]:
        """Replace a method so that a plain call of it is delayed, always or if the context has ``context_key``.

        The model's method ``<method>_job_options``, if there is one, is called with the same arguments and returns
        the properties of the job. Inside a running job the method is called as usual. Returns the new function.
        """
        original = find_method(cls, method_name)

        @functools.wraps(original)
        def delay_or_call(self: Any, *args: Any, **kwargs: Any) -> Any:
            context = self.env.context
            is_wanted = context.get(context_key) if context_key else True
            if not is_wanted or context.get("job_uuid") or is_bypassed(self.env):
                return original(self, *args, **kwargs)
            options = getattr(self, f"{method_name}_job_options", None)
            properties = options(*args, **kwargs) if options is not None else {}
            return getattr(self.with_delay(**properties), method_name)(*args, **kwargs)

        setattr(cls, method_name, delay_or_call)
        return delay_or_call
