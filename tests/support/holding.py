"""Other processes that hold an embedded server, and that can be killed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

SUPERVISOR, WORKERS = (Path(__file__).parents[2] / name for name in ("supervisor", "workers"))

# holds a server until its standard input ends
_PROGRAM = """
import sys
from pathlib import Path
from queuemaster import embedded

where = sys.argv[1]
with embedded.running(Path(where)) if where else embedded.temporary() as plan:
    print(plan.pid, plan.data_dir, flush=True)
    sys.stdin.read()
"""


@dataclass(frozen=True)
class Held:
    """The process that holds a server, and what it says of the server."""

    process: subprocess.Popen[str]
    server: int
    data_dir: Path


@dataclass(frozen=True)
class Account:
    """Another user to run a process as, with a Python that this user can run."""

    uid: int
    gid: int
    python: str


def begin(
    where: Path | None,
    account: Account | None = None,
    source: Path = SUPERVISOR,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """Start a holder of the server in ``where`` (None: a temporary one)."""
    return subprocess.Popen(
        [account.python if account else sys.executable, "-c", _PROGRAM, str(where or "")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        env={**os.environ, "PYTHONPATH": f"{source}:{WORKERS}", **(env or {})},
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )


def reported(process: subprocess.Popen[str]) -> Held:
    """Wait until the holder has its server."""
    assert process.stdout is not None
    assert process.stderr is not None
    words = process.stdout.readline().split(maxsplit=1)
    assert words, process.stderr.read()
    return Held(process, int(words[0]), Path(words[1].rstrip("\n")))


@contextlib.contextmanager
def holding(
    where: Path | None,
    account: Account | None = None,
    source: Path = SUPERVISOR,
    env: Mapping[str, str] | None = None,
) -> Iterator[Held]:
    """A holder with its server; it lets go at the end, if it still lives."""
    process = begin(where, account, source, env)
    try:
        yield reported(process)
    finally:
        process.communicate(timeout=60)
