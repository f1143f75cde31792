"""The demonstration's application: jobs of every kind, each with one effect that can be counted.

The template imports it like any application.
"""

from __future__ import annotations

import os
import signal

from queuejobs import FailedJobError, Model, RetryableJobError

SCHEMA = "create table demo_effect (number integer not null, kind text not null)"


class Demo(Model):
    """One record per job: its id is the job's number."""

    _name = "queuemaster.demo"

    def single(self) -> str:
        """Write the effect."""
        return self._effect("single")

    def following(self, *parents: int) -> str:
        """Write the effect, after a check that those of all parents are there."""
        self.env.cr.execute(
            "select count(distinct number) from demo_effect where number = any(%s)", (list(parents),)
        )
        if self.env.cr.fetchone()[0] != len(parents):
            raise FailedJobError(f"started before all of {parents} were done")
        return self._effect("following")

    def retrying(self) -> str:
        """Fail with a temporary error the first time; what that try wrote must not stay."""
        result = self._effect("retrying")
        if self._tries() < 2:
            raise RetryableJobError("the other side was not there", seconds=0)
        return result

    def failing(self) -> str:
        """Fail for good after writing: nothing of that may stay."""
        self._effect("failing")
        raise FailedJobError("there is no such customer")

    def killing(self) -> str:
        """Kill its own worker the first time."""
        result = self._effect("killing")
        if self._tries() < 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    def _effect(self, kind: str) -> str:
        self.env.cr.execute("insert into demo_effect (number, kind) values (%s, %s)", (self.id, kind))
        return f"{kind} {self.id}"

    def _tries(self) -> int:
        self.env.cr.execute(
            "select attempt from queuemaster.queue_job where uuid = %s", (self.env.context["job_uuid"],)
        )
        attempt: int = self.env.cr.fetchone()[0]
        return attempt
