"""A stored job: a snapshot of its row that can be read again and waited for."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

import psycopg2.extensions

from .encoding import decode
from .environment import QUEUE, Environment
from .exception import JobError, NoSuchJobError
from .perform import result_text
from .recordset import Recordset
from .related import related_action
from .store import actions
from .store import jobs as statements
from .store.atomic import isolation

_FIRST_POLL = 0.01
_LONGEST_POLL = 0.5


class Job:
    """One row of ``queuemaster.queue_job``, with each column as an attribute (times are naive datetimes in UTC).

    The attributes show the row as it was last read; :meth:`refresh` and :meth:`wait` read it again.
    ``records`` is the recordset of the call, ``args`` and ``kwargs`` are its decoded arguments.
    """

    def __init__(
        self, env: Environment, row: Mapping[str, Any], call: Optional[Tuple[Any, Any, Any]] = None
    ) -> None:
        self.env = env
        self._row: Dict[str, Any] = dict(row)
        # values for columns that the application added, see _job_store_values
        self.extra: Dict[str, Any] = {}
        self.given: Mapping[str, Any] = {}  # the properties as the caller gave them
        self._call = call  # recordset, args, kwargs; None: not decoded yet

    @classmethod
    def load(cls, env: Environment, uuid: str) -> Job:
        """The job with this uuid as the transaction of ``env`` sees it; :class:`NoSuchJobError` if there is none."""
        row = statements.by_uuid(statements.plain_cursor(env.cr), [uuid]).get(uuid)
        if row is None:
            raise _no_such_job(uuid)
        return cls(env, row)

    @property
    def uuid(self) -> str:
        """The job's identifier, which never changes."""
        return str(self._row["uuid"])

    @property
    def state(self) -> str:
        """The state as it was last read, such as ``pending`` or ``done``."""
        return str(self._row["state"])

    @property
    def result(self) -> Optional[str]:
        """The return value of the method, as text; None if that was None, and as long as the job is not done."""
        result: Optional[str] = self._row.get("result")
        return result

    @property
    def records(self) -> Recordset:
        """The recordset that the method is called on."""
        records: Recordset = self._decoded()[0]
        return records

    recordset = records

    @property
    def args(self) -> Tuple[Any, ...]:
        """The positional arguments of the call."""
        return tuple(self._decoded()[1])

    @property
    def kwargs(self) -> Dict[str, Any]:
        """The keyword arguments of the call."""
        return dict(self._decoded()[2])

    @property
    def description(self) -> str:
        """The job's name for people, the column ``name``."""
        return str(self._row["name"])

    def __getattr__(self, column: str) -> Any:
        try:
            return self.__dict__["_row"][column]
        except KeyError:
            raise AttributeError(f"a job has neither an attribute nor a column {column!r}") from None

    def refresh(self) -> Job:
        """Read the row again. Returns itself; :class:`NoSuchJobError` if the job does not exist any more."""
        self._row.update(type(self).load(self.env, self.uuid)._row)
        return self

    def wait(self, timeout: Optional[float] = None) -> Job:
        """Wait until the job is done, failed or cancelled. Returns itself, read again.

        ``timeout`` is in seconds (None: no limit); ``TimeoutError`` when it has passed. The state is polled on
        the connection of the environment, so commit the job first: :class:`JobError` otherwise. A transaction
        that is open already stays open; under REPEATABLE READ and SERIALIZABLE it would never see the new state,
        which is a :class:`JobError` too.
        """
        if self.state in statements.FINAL:
            return self
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = _FIRST_POLL
        cr = statements.plain_cursor(self.env.cr)
        while not self._is_final(cr):
            remaining = pause if deadline is None else deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError(f"job {self.uuid} is still {self.state} after {timeout} s")
            time.sleep(min(pause, remaining))
            pause = min(pause * 1.5, _LONGEST_POLL)
        return self

    def cancel(self) -> Job:
        """Cancel the job and all its descendants that wait for it. Returns itself, read again.

        A running job is stopped first and its writes are rolled back; until then its state is ``started`` and
        ``cancel_requested`` is set. :class:`JobError` if the job is done.
        """
        return self._act("cancel")

    def requeue(self) -> Job:
        """Run a failed, done or cancelled job again from the beginning. Returns itself, read again.

        A job that still waits stays as it is; :class:`JobError` for one that is enqueued or started.
        """
        return self._act("requeue")

    def set_done(self, result: Any = None) -> Job:
        """Make the job done without running it, so that its children may start; :class:`JobError` while it runs.

        Returns itself, read again.
        """
        return self._act("done", result_text(result))

    def related_action(self) -> Any:
        """The action for people that its job function declares, as a dict; None if there is nothing to open."""
        return related_action(self.env, self._row.get("id"), self.records, self.method_name)

    def _act(self, name: str, result: Optional[str] = None) -> Job:
        # in the caller's transaction: it takes effect with the caller's commit
        state = actions.act(statements.plain_cursor(self.env.cr), name, self.uuid, result)
        if state is None:
            raise _no_such_job(self.uuid)
        self._row["state"] = state
        refusal = actions.refusal(name, self.uuid, state)
        if refusal is not None:
            raise JobError(refusal)
        return self.refresh()

    def _is_final(self, cr: Any) -> bool:
        connection = cr.connection
        was_idle = connection.info.transaction_status == psycopg2.extensions.TRANSACTION_STATUS_IDLE
        try:
            state_and_origin = statements.state(cr, self.uuid)
            if state_and_origin is None:
                raise NoSuchJobError(f"there is no job {self.uuid} any more: rolled back, or purged")
            self._row["state"], is_uncommitted = state_and_origin
            if is_uncommitted:
                raise JobError(f"job {self.uuid} was enqueued in this transaction: commit first")
            if self.state in statements.FINAL:
                self.refresh()
                return True
            if not was_idle:
                _refuse_snapshot(cr)
            return False
        finally:
            if was_idle and not connection.closed:
                # else a transaction that the caller never began would stay open. The base class's method, since a
                # worker's connection forbids rollback() inside a job; this transaction has written nothing
                psycopg2.extensions.connection.rollback(connection)

    def _decoded(self) -> Tuple[Any, Any, Any]:
        if self._call is None:
            records, args, kwargs = (
                decode(self._row[name], self.env) for name in ("records", "args", "kwargs")
            )
            self._call = (records, args, kwargs)
        return self._call

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and other.uuid == self.uuid

    def __hash__(self) -> int:
        return hash((QUEUE, self.uuid))

    def __repr__(self) -> str:
        return f"<Job {self.uuid} {self.state} {self._row.get('func_string')}>"


class Jobs(List[Job]):
    """A list of jobs with the actions of :class:`Job`, applied to each in turn. The first error ends the action."""

    def cancel(self) -> Jobs:
        """:meth:`Job.cancel` of each job. Returns itself."""
        return self._for_each(Job.cancel)

    def requeue(self) -> Jobs:
        """:meth:`Job.requeue` of each job. Returns itself."""
        return self._for_each(Job.requeue)

    def set_done(self, result: Any = None) -> Jobs:
        """:meth:`Job.set_done` of each job. Returns itself."""
        return self._for_each(lambda job: job.set_done(result))

    def _for_each(self, action: Callable[[Job], Job]) -> Jobs:
        for job in self:
            action(job)
        return self


def _no_such_job(uuid: str) -> NoSuchJobError:
    return NoSuchJobError(f"there is no job {uuid}: it was never committed, or it was purged")


def _refuse_snapshot(cr: Any) -> None:
    level = isolation(cr)
    if level in ("repeatable read", "serializable"):
        raise JobError(f"this transaction is {level}: it will never see the job end. Commit before you wait")
