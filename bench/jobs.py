"""The jobs that are measured. Imported by the template as ``--app bench.jobs``."""

from __future__ import annotations

import time

from queuejobs import Model

TABLE = "create table bench_effect (number integer not null)"


class Bench(Model):
    """Jobs that do as little as possible."""

    _name = "bench"

    def noop(self) -> None:
        """Nothing but claim and finish."""

    def insert(self) -> None:
        """One row, in the job's transaction."""
        self.env.cr.execute("insert into bench_effect (number) values (%s)", (self.id,))

    def run_away(self, how: str) -> None:
        """Never end by itself."""
        while True:
            try:
                if how == "query":
                    self.env.cr.execute("select pg_sleep(3600)")
                elif how != "busy loop":
                    time.sleep(3600)
            except Exception:
                if how != "swallow":
                    raise

    def hold(self, seconds: float, in_query: bool) -> None:
        """Stay in the first attempt until killed, in a query or in Python; be done at once in the next."""
        self.env.cr.execute(
            "select attempt from queuemaster.queue_job where uuid = %s", (self.env.context["job_uuid"],)
        )
        if self.env.cr.fetchone()[0] > 1:
            return
        if in_query:
            self.env.cr.execute("select pg_sleep(%s)", (seconds,))
        else:
            time.sleep(seconds)
