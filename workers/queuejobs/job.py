"""A job as it is stored: a snapshot of its row that can be read again and waited for."""

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
    """One row of ``queuemaster.queue_job``; each of its columns is an attribute (times: naive UTC).

    It shows the row as it was when it was read: :meth:`refresh` and :meth:`wait` read it again.
    ``records`` is the recordset of the call, ``args`` and ``kwargs`` its arguments, decoded.
    """

    def __init__(
        self, env: Environment, row: Mapping[str, Any], call: Optional[Tuple[Any, Any, Any]] = None
    ) -> None:
        self.env = env
        self._row: Dict[str, Any] = dict(row)
        self.extra: Dict[str, Any] = {}  # for columns of the application, see _job_store_values
        self.given: Mapping[str, Any] = {}  # the properties as its caller gave them
        self._call = call  # recordset, args, kwargs; None: still to be decoded

    @classmethod
    def load(cls, env: Environment, uuid: str) -> Job:
        """The job of that uuid as this transaction sees it; :class:`NoSuchJobError`."""
        row = statements.by_uuid(statements.plain_cursor(env.cr), [uuid]).get(uuid)
        if row is None:
            raise NoSuchJobError(f"there is no job {uuid}: it was never committed, or it was purged")
        return cls(env, row)

    @property
    def uuid(self) -> str:
        """The name of the job, for ever."""
        return str(self._row["uuid"])

    @property
    def state(self) -> str:
        """The state when the job was last read."""
        return str(self._row["state"])

    @property
    def result(self) -> Optional[str]:
        """What the method returned, as text; None as long as the job is not done."""
        result: Optional[str] = self._row.get("result")
        return result

    @property
    def records(self) -> Recordset:
        """The recordset that the method is called on."""
        found: Recordset = self._decoded()[0]
        return found

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
        """What people are shown: the column ``name``."""
        return str(self._row["name"])

    def __getattr__(self, column: str) -> Any:
        try:
            return self.__dict__["_row"][column]
        except KeyError:
            raise AttributeError(f"a job has no attribute and its row no column {column!r}") from None

    def refresh(self) -> Job:
        """Read the row again; itself."""
        self._row.update(type(self).load(self.env, self.uuid)._row)
        return self

    def wait(self, timeout: Optional[float] = None) -> Job:
        """Wait until the job is done, failed or cancelled; itself, read again.

        ``timeout`` in seconds, None: no limit; ``TimeoutError``. It asks again and again on the
        connection of its environment: commit the job first. A transaction that is open when it is
        called stays open; under REPEATABLE READ and SERIALIZABLE such a transaction sees nothing
        new, which is refused.
        """
        if self.state in statements.FINAL:
            return self
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = _FIRST_POLL
        cr = statements.plain_cursor(self.env.cr)
        while not self._is_final(cr):
            left = pause if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"job {self.uuid} is still {self.state} after {timeout} s")
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, _LONGEST_POLL)
        return self

    def cancel(self) -> Job:
        """Cancel it, and with it all its waiting descendants; itself, read again.

        A running job is stopped first and its writes are rolled back: until then it is ``started``, with
        ``cancel_requested``. :class:`JobError` for one that is done.
        """
        return self._act("cancel")

    def requeue(self) -> Job:
        """Have a failed, done or cancelled job run from the beginning; itself, read again. Else JobError."""
        return self._act("requeue")

    def set_done(self, result: Any = None) -> Job:
        """Make it done without running it: its children go on. JobError for a running one."""
        return self._act("done", result_text(result))

    def related_action(self) -> Any:
        """What a person can open from this job, declared with its job function; None: nothing."""
        return related_action(self.env, self._row.get("id"), self.records, self.method_name)

    def _act(self, name: str, result: Optional[str] = None) -> Job:
        # in the transaction of the caller, like all else: it counts when he commits
        state = actions.act(statements.plain_cursor(self.env.cr), name, self.uuid, result)
        if state is None:
            raise NoSuchJobError(f"there is no job {self.uuid}: it was never committed, or it was purged")
        self._row["state"] = state
        refused = actions.refusal(name, self.uuid, state)
        if refused is not None:
            raise JobError(refused)
        return self.refresh()

    def _is_final(self, cr: Any) -> bool:
        connection = cr.connection
        was_idle = connection.info.transaction_status == psycopg2.extensions.TRANSACTION_STATUS_IDLE
        try:
            found = statements.state(cr, self.uuid)
            if found is None:
                raise NoSuchJobError(f"there is no job {self.uuid} any more: rolled back, or purged")
            self._row["state"], is_ours = found
            if is_ours:
                raise JobError(f"job {self.uuid} was enqueued in this transaction: commit first")
            if self.state in statements.FINAL:
                self.refresh()
                return True
            if not was_idle:
                _refuse_snapshot(cr)
            return False
        finally:
            if was_idle and not connection.closed:
                # or a transaction would stay open that the caller never began; past what a worker's
                # connection forbids to jobs: nothing is lost here
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
    """A list of jobs, on which each can be done what can be done to one. The first refusal ends it."""

    def cancel(self) -> Jobs:
        """:meth:`Job.cancel` of each; itself."""
        return self._each(Job.cancel)

    def requeue(self) -> Jobs:
        """:meth:`Job.requeue` of each; itself."""
        return self._each(Job.requeue)

    def set_done(self, result: Any = None) -> Jobs:
        """:meth:`Job.set_done` of each; itself."""
        return self._each(lambda job: job.set_done(result))

    def _each(self, change: Callable[[Job], Job]) -> Jobs:
        for job in self:
            change(job)
        return self


def _refuse_snapshot(cr: Any) -> None:
    level = isolation(cr)
    if level in ("repeatable read", "serializable"):
        raise JobError(f"this transaction is {level}: it will never see the job end. Commit before you wait")
