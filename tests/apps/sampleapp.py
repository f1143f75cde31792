"""An application with jobs that behave and jobs that do not. Imported by templates as ``--app sampleapp``."""

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
_running_children: list[subprocess.Popen[bytes]] = []
EFFECTS = "create table effect (number integer not null, pid integer not null default pg_backend_pid())"


class Sample(Model):
    """The ids of a recordset are the numbers that its jobs write into the table ``effect``."""

    _name = "sample"

    def write(self) -> int:
        """Write the numbers, as an ordinary job does."""
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
        """Ask for another try in the first attempt."""
        self.write()
        if self._attempt() < 2:
            raise RetryableJobError("not yet", seconds=0)

    def fail(self) -> None:
        """Fail for good, with an error that the application intends."""
        self.write()
        raise FailedJobError("it may not be")

    def crash(self) -> None:
        """Fail with an error in the code."""
        self.write()
        raise ZeroDivisionError("one by zero")

    @job_function(retry_pattern={1: 0})
    def retry_for_ever(self) -> None:
        """Use up all tries."""
        raise RetryableJobError("never")

    def die(self, how: str) -> None:
        """End the worker's process in the first attempt."""
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
        """End the worker's process in every attempt."""
        os.kill(os.getpid(), signal.SIGKILL)

    @job_function(on_fail_method="say_goodbye")
    def run_into_the_end(self, marker: str, how: str) -> None:
        """Append to the file ``marker``, which no rollback undoes, and end the worker's process or run away."""
        with open(marker, "a") as stream:
            stream.write(f"{self.ids[0]}\n")
        if how == "die":
            self.always_die()
        self.run_away(how)

    def say_goodbye(self, marker: str, how: str) -> None:
        """Write other numbers; called after the final failure."""
        self.browse([int(number) + 100 for number in self.ids]).write()

    def commit(self, how: str) -> None:
        """End the transaction in the middle of the job, which is forbidden."""
        connection = self.env.cr.connection
        if how.startswith("first "):  # before the first statement no transaction has begun
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
        """Roll back and release savepoints, which is allowed."""
        self.env.cr.execute("savepoint here")
        self.write()
        self.env.cr.execute("rollback to savepoint here")
        self.write()
        with self.env.cr.connection.cursor(cursor_factory=RealDictCursor) as cursor:
            cursor.execute("select number from effect")
            self.env.cr.execute("release savepoint here; select %s", (cursor.fetchone()["number"],))

    def leave(self) -> None:
        """End the interpreter, as code that was written as a script does."""
        sys.exit(3)

    def break_transaction(self) -> None:
        """Swallow a database error without a savepoint."""
        try:
            self.env.cr.execute("select 1 / 0")
        except Exception as error:
            self.env.context.get("nothing", error)

    def run_away(self, how: str) -> None:
        """Run until stopped from outside, in one of several ways."""
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
        """Run away with limits that are declared for the function."""
        self.run_away(how)

    def use_children(self, seconds: float, leave: bool) -> None:
        """Start a child process that computes for ``seconds``, and wait for it or leave it behind."""
        script = f"import time\nwhile time.process_time() < {seconds}: pass  # 600.4711"
        child = subprocess.Popen([sys.executable, "-c", script])
        if leave:
            _running_children.append(child)
        else:
            child.wait()

    def leave_an_orphan(self, marker: str) -> None:
        """Start a process that outlives the job and its own parent, and wait until its pid is in ``marker``."""
        script = f"setsid sleep 600.4712 & echo $! >> {marker}"
        subprocess.run(["sh", "-c", script], check=True)

    def stop(self) -> None:
        """Stop the worker's process with SIGSTOP, so that its heartbeat ends."""
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(600)  # kill() may return before all threads are stopped

    def retry_later(self, seconds: float | None, ignore_retry: bool) -> None:
        """Ask for another try after ``seconds``."""
        self.write()
        raise RetryableJobError("later", seconds=seconds, ignore_retry=ignore_retry)

    @job_function(retry_pattern={1: 100, 3: 3000})
    def retry_by_pattern(self) -> None:
        """Ask for another try, whose delay the function's pattern declares."""
        raise RetryableJobError("as declared")

    def delay_more(self, how: str) -> None:
        """Delay a job for each number, then end or crash."""
        for record in self:
            record.with_delay().write()
        if how == "crash":
            raise ZeroDivisionError

    def returns(self, what: object) -> object:
        """Return the argument."""
        return what

    def returns_much(self, letter: str, count: int) -> str:
        """Return a text of this length."""
        return letter * count

    def log(self, text: str) -> None:
        """Log a warning."""
        logging.getLogger("sampleapp").warning(text)

    def backend(self) -> int:
        """Return the pid of the process that the job runs in."""
        return os.getpid()

    def environment(self, *names: str) -> object:
        """Return environment variables of the process, which /proc does not show after setproctitle."""
        return {name: os.environ[name] for name in names if name in os.environ}

    def context(self) -> object:
        """Return the user, company, context and ids that the job runs with."""
        context = dict(self.env.context)
        return {"user": self.env.user_id, "company": self.env.company_id, "context": context, "ids": self.ids}

    def echo(self, *args: object, **kwargs: object) -> str:
        """Return the arguments as text, as they arrive."""
        return repr((args, kwargs))

    def _attempt(self) -> int:
        uuid = self.env.context["job_uuid"]
        self.env.cr.execute("select attempt from queuemaster.queue_job where uuid = %s", (uuid,))
        attempt: int = self.env.cr.fetchone()[0]
        return attempt
