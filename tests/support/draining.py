"""A worker without processes: run the ready jobs of a database here and now, by the same functions as a worker."""

from __future__ import annotations

import random
from typing import Any

from queuejobs.functions import lookup
from queuejobs.perform import perform, perform_on_fail
from queuejobs.retry import RetrySettings, decide
from queuejobs.store import claims
from support.rows import WorkerSession


class Drain:
    """Models may be defined anywhere in this process."""

    def __init__(self, dsn: str) -> None:
        self._session = WorkerSession(dsn)

    def work(self) -> int:
        """Run jobs until none is ready; how many runs there were."""
        runs = 0
        channels = (
            "select distinct channel from queuemaster.queue_job where state = 'pending' and eta is null"
        )
        while ready := self._session.rows(channels):
            for (channel,) in ready:
                row = self._session.claim(channel)
                if row is not None:
                    self._run(row)
                    runs += 1
        return runs

    def make_due(self) -> None:
        """Let the time come for all jobs that wait for it."""
        self._session.rows("update queuemaster.queue_job set eta = null where state = 'pending'")

    def close(self) -> None:
        self._session.connection.close()

    def _run(self, row: dict[str, Any]) -> None:
        session = self._session
        function = lookup(row["model_name"], row["method_name"])
        session.begin()
        try:
            result = perform(session.cursor, row)
            assert claims.finish(session.cursor, row, result, 0.1)
            session.commit()
            return
        except Exception as error:  # whatever the job raises
            session.rollback()
            outcome = decide(error, row, function, RetrySettings(), random)
        ending = claims.Ending(
            outcome.state,
            outcome.delay,
            outcome.counted,
            outcome.exc_name,
            outcome.exc_message,
            outcome.exc_info,
        )
        assert claims.settle(session.cursor, row, ending)
        if outcome.state == "failed" and function.on_fail_method:
            perform_on_fail(session.cursor, row, function.on_fail_method)
