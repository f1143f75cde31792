"""An application for the tests: jobs that behave and jobs that do not. Imported by templates as ``--app sampleapp``."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import time

from psycopg2.extras import RealDictCursor
from psycopg2.sql import SQL

from queuejobs import FailedJobError, Model, RetryableJobError, job_function

_hoard: list[bytearray] = []
_left: list[subprocess.Popen[bytes]] = []
EFFECTS = "create table effect (number integer not null, pid integer not null default pg_backend_pid())"


class Sample(Model):
    """The ids of a recordset are the numbers that its jobs write into the table ``effect``."""

    _name = "sample"

    def write(self) -> int:
        """The ordinary job."""
        self.env.cr.execute("insert into effect (number) select unnest(%s::integer[])", (self.ids,))
        return len(self)

    def write_slowly(self, seconds: float) -> None:
        """Write, then stay in the transaction."""
        self.write()
        self.env.cr.execute("select pg_sleep(%s)", (seconds,))

    def write_and_wait(self, key: int) -> None:
        """Write, then wait until the test gives up the advisory lock."""
        self.write()
        self.env.cr.execute("select pg_advisory_xact_lock_shared(4711, %s)", (key,))

    def write_when_tried_again(self) -> None:
        """Ask for another try, the first time."""
        self.write()
        if self._attempt() < 2:
            raise RetryableJobError("not yet", seconds=0)

    def fail(self) -> None:
        """A failure of the business."""
        self.write()
        raise FailedJobError("it may not be")

    def crash(self) -> None:
        """A failure of the code."""
        self.write()
        raise ZeroDivisionError("one by zero")

    @job_function(retry_pattern={1: 0})
    def retry_for_ever(self) -> None:
        """Use up all tries."""
        raise RetryableJobError("never")

    def die(self, how: str) -> None:
        """Take the worker down, the first time."""
        self.write()
        if self._attempt() > 1:
            return
        if how == "exit":
            os._exit(0)
        elif how == "segfault":
            ctypes.string_at(0)
        else:
            os.kill(os.getpid(), getattr(signal, how))

    def always_die(self) -> None:
        """Take the worker down each time."""
        os.kill(os.getpid(), signal.SIGKILL)

    @job_function(on_fail_method="say_goodbye")
    def run_into_the_end(self, marker: str, how: str) -> None:
        """Note that it ran, where no rollback reaches, and take the worker down or run away."""
        with open(marker, "a") as stream:
            stream.write(f"{self.ids[0]}\n")
        if how == "die":
            self.always_die()
        self.run_away(how)

    def say_goodbye(self, marker: str, how: str) -> None:
        """What is called after the last failure."""
        self.browse([int(number) + 100 for number in self.ids]).write()

    def commit(self, how: str) -> None:
        """End the transaction in the middle, which is forbidden."""
        connection = self.env.cr.connection
        if how.startswith("first "):  # before any statement, so in no transaction yet
            setattr(connection, how[6:], True)
        self.write()
        if how in ("commit", "rollback"):
            getattr(self.env.cr, how)()
        elif how == "with connection":
            with connection:
                self.write()
        elif how in ("connection.commit", "connection.rollback", "connection.reset", "connection.close"):
            getattr(connection, how.partition(".")[2])()
        elif how == "set_session":
            connection.set_session(autocommit=True)
        elif how == "autocommit":
            connection.autocommit = True
        elif how == "isolation_level":
            connection.isolation_level = 0
        elif how == "composed":
            self.env.cr.execute(SQL("commit"))
        elif how == "bytes":
            self.env.cr.execute(b"commit")
        elif how == "executemany":
            self.env.cr.executemany("commit", [()])
        elif how == "own cursor":
            connection.cursor(cursor_factory=RealDictCursor).execute("commit")
        else:
            self.env.cr.execute(how)

    def use_savepoints(self) -> None:
        """What is allowed instead."""
        self.env.cr.execute("savepoint here")
        self.write()
        self.env.cr.execute("rollback to savepoint here")
        self.write()
        with self.env.cr.connection.cursor(cursor_factory=RealDictCursor) as cursor:
            cursor.execute("select number from effect")
            self.env.cr.execute("release savepoint here; select %s", (cursor.fetchone()["number"],))

    def leave(self) -> None:
        """End the interpreter, as code that was a script once does."""
        sys.exit(3)

    def break_transaction(self) -> None:
        """Swallow a database error without a savepoint."""
        try:
            self.env.cr.execute("select 1 / 0")
        except Exception as error:
            self.env.context.get("nothing", error)

    def run_away(self, how: str) -> None:
        """Go on for ever, in one of the ways that are known."""
        self.write()
        if how == "child":
            subprocess.run(["sleep", "600.4711"], check=True)
        if how == "busy child":
            subprocess.run([sys.executable, "-c", "while True: pass  # 600.4711"], check=True)
        while True:
            try:
                self._go_on(how)
            except Exception:
                if how != "swallow":
                    raise

    def _go_on(self, how: str) -> None:
        if how == "sleep" or how == "swallow":
            time.sleep(600)
        elif how == "query":
            self.env.cr.execute("select pg_sleep(600)")
        elif how == "interpreter lock":
            ctypes.PyDLL("").sleep(600)
        elif how == "memory":
            _hoard.append(bytearray(os.urandom(1 << 20)) * 8)

    @job_function(cpu=4, memory="300M", timeout=600)
    def run_away_within_limits(self, how: str) -> None:
        """The same, where its function says what it may use."""
        self.run_away(how)

    def use_children(self, seconds: float, leave: bool) -> None:
        """Have a child compute for so long; or leave it behind, computing."""
        script = f"import time\nwhile time.process_time() < {seconds}: pass  # 600.4711"
        child = subprocess.Popen([sys.executable, "-c", script])
        if leave:
            _left.append(child)
        else:
            child.wait()

    def leave_an_orphan(self, marker: str) -> None:
        """Start a process that outlives the job and belongs to nobody; wait until it is there."""
        script = f"setsid sleep 600.4712 & echo $! >> {marker}"
        subprocess.run(["sh", "-c", script], check=True)

    def stop(self) -> None:
        """Stop the own process, so that it beats no more."""
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(600)  # the call may return before all threads stand

    def retry_later(self, seconds: float | None, ignore_retry: bool) -> None:
        """Ask for another try."""
        self.write()
        raise RetryableJobError("later", seconds=seconds, ignore_retry=ignore_retry)

    @job_function(retry_pattern={1: 100, 3: 3000})
    def retry_by_pattern(self) -> None:
        """Ask for another try, when is declared."""
        raise RetryableJobError("as declared")

    def delay_more(self, how: str) -> None:
        """Delay a job for each number, then go on or not."""
        for record in self:
            record.with_delay().write()
        if how == "crash":
            raise ZeroDivisionError

    def returns(self, what: object) -> object:
        """A result."""
        return what

    def returns_much(self, letter: str, count: int) -> str:
        """A result of this length."""
        return letter * count

    def log(self, text: str) -> None:
        """Say something."""
        logging.getLogger("sampleapp").warning(text)

    def backend(self) -> int:
        """The process that it runs in."""
        return os.getpid()

    def environment(self, *names: str) -> object:
        """What the process was given, which setproctitle has overwritten where others would look."""
        return {name: os.environ[name] for name in names if name in os.environ}

    def context(self) -> object:
        """What the job runs as."""
        context = dict(self.env.context)
        return {"user": self.env.user_id, "company": self.env.company_id, "context": context, "ids": self.ids}

    def echo(self, *args: object, **kwargs: object) -> str:
        """The arguments as they arrive."""
        return repr((args, kwargs))

    def _attempt(self) -> int:
        uuid = self.env.context["job_uuid"]
        self.env.cr.execute("select attempt from queuemaster.queue_job where uuid = %s", (uuid,))
        attempt: int = self.env.cr.fetchone()[0]
        return attempt
