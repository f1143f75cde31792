"""What a job may raise, and what the queue raises when a job cannot be made or run."""

from __future__ import annotations

from typing import Iterable, Optional


class JobError(Exception):
    """Base of the errors of this package."""


class RetryableJobError(JobError):
    """Raise it in a job for a passing failure: the job is put back and runs again later.

    ``seconds``: how long to wait; 0 means at once, None leaves it to the job function's retry
    pattern or the default delay. ``ignore_retry``: this try does not count towards
    ``max_retries``.
    """

    def __init__(self, msg: str, seconds: Optional[float] = None, ignore_retry: bool = False) -> None:
        super().__init__(msg)
        self.seconds = seconds
        self.ignore_retry = ignore_retry


class FailedJobError(JobError):
    """Raise it in a job for a permanent failure: it is not tried again, whatever the policy."""


class TimeoutJobError(JobError):
    """The job ran longer than its timeout and was stopped."""


class LimitJobError(JobError):
    """The job used more memory or processor time than its limit and was stopped."""


class CancelledJobError(JobError):
    """The job was cancelled while it ran."""


class CommitInJobError(JobError):
    """A job tried to end its transaction, although its writes and its end must be one commit."""


class NoSuchJobError(JobError):
    """No job with this uuid is stored; it may never have been committed, or have been purged."""


class UnknownCallError(JobError):
    """The call of a job does not exist in the code that this process has imported."""


class NoSuchModelError(UnknownCallError):
    """The model of a job, or of a recordset in its arguments, is not registered."""

    def __init__(self, model_name: str, known: Iterable[str]) -> None:
        super().__init__(
            f"no model {model_name!r} is registered in this process; registered are: {_listed(known)}."
            " Is the module that defines it imported (option 'app' of the service)?"
        )
        self.model_name = model_name


class NoSuchMethodError(UnknownCallError):
    """The model of a job is registered, but has no such method."""

    def __init__(self, model_name: str, method_name: str, known: Iterable[str]) -> None:
        super().__init__(
            f"model {model_name!r} has no method {method_name!r}; it has: {_listed(known)}."
            " Was it renamed while jobs were waiting?"
        )
        self.model_name = model_name
        self.method_name = method_name


def _listed(names: Iterable[str]) -> str:
    shown = sorted(names)
    if len(shown) > 50:
        shown = [*shown[:50], f"… and {len(shown) - 50} more"]
    return ", ".join(shown) or "none"
