"""An application with a method for each feature of the job model. Imported by templates as ``--app modelapp``."""

from __future__ import annotations

import logging
import time
from typing import Any

from queuejobs import FailedJobError, Model, RetryableJobError, job_function

_STATE = "do $$ begin raise exception 'as ordered' using errcode = '{}'; end $$"


class Shown(Model):
    """Its ids are numbers, which the jobs write into the table ``effect``."""

    _name = "shown"

    def _job_prepare_context_before_enqueue_keys(self) -> tuple[str, ...]:
        return (*super()._job_prepare_context_before_enqueue_keys(), "tenant", "delay_it")

    def write(self, *numbers: int) -> None:
        self.env.cr.execute(
            "insert into effect (number) select unnest(%s::integer[])", (list(numbers) or self.ids,)
        )

    def raised(self) -> list[int]:
        """The ids plus a hundred."""
        return [int(number) + 100 for number in self.ids]

    # failures, and the methods that are called after the final one

    @job_function(on_fail_method="tell", retry_pattern={1: 0})
    def fail_at_last(self, word: str) -> None:
        self.write()
        if word == "retry":
            raise RetryableJobError("again")
        raise ZeroDivisionError(word)

    def tell(self, word: str) -> None:
        self.write(*self.raised())
        logging.getLogger("modelapp").info("told %s", word)

    @job_function(on_fail_method="explode")
    def fail_twice(self) -> None:
        raise ZeroDivisionError("first")

    def explode(self) -> None:
        self.write()
        raise ZeroDivisionError("second")

    # transactions

    @job_function(allow_commit=True)
    def commit_and_crash(self) -> None:
        self.write()
        self.env.cr.connection.commit()
        self.write(*self.raised())
        raise ZeroDivisionError("after the commit")

    @job_function(isolation="repeatable read")
    def read_repeatably(self) -> str:
        self.env.cr.execute("show transaction_isolation")
        level: str = self.env.cr.fetchone()[0]
        self.write()
        return level

    @job_function(isolation="serializable")
    def serialize(self) -> str:
        self.env.cr.execute("show transaction_isolation")
        level: str = self.env.cr.fetchone()[0]
        return level

    def collide(self, code: str) -> None:
        """Fail with a concurrency error in the first attempt."""
        self.write()
        if _attempt(self) < 2:
            self.env.cr.execute(_STATE.format(code))

    @job_function(isolation="repeatable read")
    def count_up(self) -> None:
        """Read and write a counter: of two such jobs at once PostgreSQL ends one."""
        self.env.cr.execute("select value from counter")
        value = self.env.cr.fetchone()[0]
        self.env.cr.execute("select pg_advisory_xact_lock_shared(4711, 1)")
        self.env.cr.execute("update counter set value = %s", (value + 1,))

    # policies

    def crash(self) -> None:
        raise ZeroDivisionError("a bug")

    @job_function(on_error="fail")
    def crash_for_good(self) -> None:
        raise ZeroDivisionError("a bug")

    @job_function(on_error="retry")
    def crash_and_retry(self) -> None:
        raise ZeroDivisionError("a bug")

    @job_function(timeout=1)
    def sleep_too_long(self) -> None:
        time.sleep(600)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    # the context of a job, and calls that are delayed

    def what(self, other: Any = None) -> Any:
        contexts = [dict(records.env.context) for records in (self, other) if records is not None]
        return [{**context, "job_uuid": bool(context.pop("job_uuid"))} for context in contexts]

    def write_by_itself(self, number: int) -> None:
        """A plain call of it is delayed, if the context has ``delay_it``."""
        self.write(number)

    def write_by_itself_job_options(self, number: int) -> dict[str, Any]:
        return {"priority": number}

    def call_plainly(self, number: int) -> None:
        self.write_by_itself(number)

    def say(self, text: str) -> None:
        logging.getLogger("modelapp").warning(text)

    def hold_then_retry(self) -> None:
        """In the first attempt, wait for the test and then ask for another try."""
        if _attempt(self) < 2:
            self.env.cr.execute("select pg_advisory_xact_lock_shared(4711, 1)")
            raise RetryableJobError("not yet", seconds=0)
        self.write()

    # graphs

    def follow(self, *parents: int) -> None:
        """Write, after checking that everything that the parents wrote is visible."""
        self.env.cr.execute(
            "select count(distinct number) from effect where number = any(%s)", (list(parents),)
        )
        if self.env.cr.fetchone()[0] != len(parents):
            raise AssertionError(f"{self.ids} started before its parents {parents} were done")
        self.write()


Shown._patch_job_auto_delay("write_by_itself", context_key="delay_it")


class Vertex(Model):
    """A node of a random graph. Its id is its number, which its job writes into the table ``effect``."""

    _name = "vertex"

    def run(self, kind: str) -> None:
        self.env.cr.execute("insert into effect (number) values (%s)", (self.id,))
        time.sleep(int(self.id) % 5 / 1000)
        if kind == "tired":
            raise RetryableJobError("never", seconds=0)
        if kind == "retrying" and _attempt(self) < 3:
            raise RetryableJobError("not yet", seconds=0)
        if kind == "broken" and not self._is_repaired():
            raise FailedJobError("the test has to repair it")
        if kind == "held":
            self.env.cr.execute("select pg_advisory_xact_lock_shared(4711, 1)")

    def _is_repaired(self) -> bool:
        self.env.cr.execute("select exists (select from repaired where number = %s)", (self.id,))
        return bool(self.env.cr.fetchone()[0])


def _attempt(records: Model) -> int:
    uuid = records.env.context["job_uuid"]
    records.env.cr.execute("select attempt from queuemaster.queue_job where uuid = %s", (uuid,))
    attempt: int = records.env.cr.fetchone()[0]
    return attempt
