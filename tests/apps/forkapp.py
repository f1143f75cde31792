"""An application whose jobs fork, start processes and leave threads behind. Imported as ``--app forkapp``."""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from queuejobs import FailedJobError, Model, job_function

_log = logging.getLogger("forkapp")
_left: list[threading.Thread] = []


def be_busy(number: int) -> int:
    """What a process of a pool does."""
    return number * number


class Forking(Model):
    """The ids of a recordset are the numbers that its jobs write into the table ``effect``."""

    _name = "forking"

    def write(self) -> int:
        """The ordinary job, which must not notice the others."""
        self.env.cr.execute("insert into effect (number) select unnest(%s::integer[])", (self.ids,))
        return len(self)

    def fork(self, how: str) -> str:
        """Write, fork, wait for the child. Returns how the child ended."""
        self.write()
        pid = os.fork()
        if pid == 0:
            self._be_a_child(how)
            return "the child is back"
        _, status = os.waitpid(pid, 0)
        return _ended(status)

    def fork_and_fail(self, how: str) -> None:
        """The same, and then the job itself fails."""
        self.fork(how)
        raise FailedJobError("the parent fails")

    @job_function(on_fail_method="fork_at_the_end")
    def fail(self, how: str) -> None:
        """Fail for good, so that the method of the failure is called."""
        raise FailedJobError("for good")

    def fork_at_the_end(self, how: str) -> None:
        """Fork after the failure."""
        self.fork(how)

    def fork_twice(self, how: str) -> str:
        """The grandchild, whose parent has gone, comes back into the job."""
        self.write()
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            if os.fork() == 0:
                self._be_a_child(how)
                return "the grandchild is back"
            os._exit(0)
        os.close(writing)
        os.waitpid(pid, 0)
        os.read(reading, 1)  # until the grandchild has ended
        os.close(reading)
        return "waited"

    def fork_in_a_thread(self, how: str) -> str:
        """A thread of the job forks, and waits for its child."""
        self.write()
        results: list[str] = []

        def run() -> None:
            pid = os.fork()
            if pid == 0:
                self._be_a_child(how)
                return
            results.append(_ended(os.waitpid(pid, 0)[1]))

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        return results[0]

    def compute_in_processes(self, method: str) -> int:
        """A pool of multiprocessing, which forks or starts interpreters."""
        self.write()
        with multiprocessing.get_context(method).Pool(2) as pool:
            return sum(pool.map(be_busy, range(5)))

    def run_a_command(self) -> str:
        """A subprocess whose child runs Python before the exec."""
        self.write()
        return subprocess.run(
            [sys.executable, "-c", "print('through')"],
            preexec_fn=lambda: None, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip

    def leave_a_thread(self, seconds: float) -> None:
        """A thread that outlives the job, and tries to write with what it has of the job."""
        self.write()
        cursor = self.env.cr

        def write_later() -> None:
            time.sleep(seconds)
            cursor.execute("insert into effect (number) values (-1)")

        _left.append(threading.Thread(target=write_later, daemon=True))
        _left[-1].start()

    def _be_a_child(self, how: str) -> None:
        actions: dict[str, Callable[[], object]] = {
            "return": lambda: None,
            "raise": lambda: _raise(ValueError("in the child")),
            "exit": lambda: sys.exit(3),
            "use the session": lambda: self.env.cr.execute("insert into effect (number) values (-2)"),
            "commit": self.env.cr.connection.commit,
            "close the session": self.env.cr.connection.close,
            "log": lambda: _log.warning("from the child"),
            "end by a signal": lambda: _signal(signal.SIGTERM),
            "crash": lambda: ctypes.string_at(0),
        }
        actions[how]()


def _signal(signum: int) -> None:
    os.kill(os.getpid(), signum)
    time.sleep(60)


def _raise(error: BaseException) -> None:
    raise error


def _ended(status: int) -> str:
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return f"exit {os.WEXITSTATUS(status)}"
