"""What applications derive from: models whose methods can be delayed."""

from __future__ import annotations

import functools
from typing import Any, Callable, Optional

from . import registry
from .delay import Delayable, DelayProxy
from .functions import find_method
from .recordset import Recordset
from .run_inline import is_bypassed


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

    @classmethod
    def _patch_job_auto_delay(cls, method_name: str, context_key: Optional[str] = None) -> Callable[..., Any]:
        """From now on a plain call of the method delays it, if the context has ``context_key`` (or always).

        A method ``<method>_job_options`` that takes the same arguments returns the properties of the
        job. Inside a running job a call is a call. Returns the function that took the method's place.
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
