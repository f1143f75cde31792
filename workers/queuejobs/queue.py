"""The stored jobs as a model: ``env["queue.job"]``."""

from __future__ import annotations

from typing import Any, Iterable, List, Optional, Sequence

from .delay import delay_many
from .environment import QUEUE
from .graph import Node
from .job import Job, Jobs
from .model import Model
from .store import jobs as statements
from .store.search import Condition, select


class Queue(Model):
    """Stored jobs, by their database id. A recordset of one job has the attributes of :class:`Job`.

    An application declares its related actions as methods of a subclass.
    """

    _name = QUEUE

    def search(
        self, domain: Sequence[Condition] = (), limit: Optional[int] = None, order: str = "id"
    ) -> Jobs:
        """The jobs that meet every condition ``(column, operator, value)``.

        Operators: =, !=, <, <=, >, >=, in, not in, like (contains; % and _ match as in SQL). The value None means
        "not set". ``order``: column names, each with or without ``desc``, separated by commas. ``ValueError`` for
        an unknown column or operator.
        """
        sql, values = select(domain, limit, order)
        cr = statements.plain_cursor(self.env.cr)
        cr.execute(sql, values)
        return Jobs(Job(self.env, row) for row in statements.rows_of(cr))

    def jobs(self) -> Jobs:
        """The jobs of these records, in the order of the ids; jobs that do not exist any more are left out."""
        by_id = {job.id: job for job in self.search([("id", "in", self.ids)])}
        return Jobs(by_id[job_id] for job_id in self.ids if job_id in by_id)

    def cancel(self) -> Jobs:
        """:meth:`Job.cancel` of each of these records."""
        return self.jobs().cancel()

    def requeue(self) -> Jobs:
        """:meth:`Job.requeue` of each of these records."""
        return self.jobs().requeue()

    def set_done(self, result: Any = None) -> Jobs:
        """:meth:`Job.set_done` of each of these records."""
        return self.jobs().set_done(result)

    def delay_many(self, delayables: Iterable[Node]) -> List[Any]:
        """As :meth:`Environment.delay_many`."""
        return delay_many(self.env, delayables)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or len(self) != 1:
            raise AttributeError(f"{self!r} has no {name!r}: it is no single job")
        jobs = self.jobs()
        if not jobs:
            raise AttributeError(f"job {self.ids[0]} is gone, so it has no {name!r}")
        return getattr(jobs[0], name)
