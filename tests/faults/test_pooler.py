"""pgbouncer between us and the server: session mode works as if it were not there, transaction mode is refused."""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from psycopg2 import sql
from psycopg2.extensions import make_dsn, parse_dsn

from queuejobs.store.connection import connect, is_pooled
from support.postgres import connected
from support.programs import copied
from support.supervised import PATIENCE, command, environment, queue, supervised
from support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("adopting")


@contextlib.contextmanager
def pooler(dsn: str, mode: str) -> Iterator[str]:
    """The DSN of the database through a pgbouncer in this mode."""
    behind = parse_dsn(dsn)
    with socket.socket() as probe, tempfile.TemporaryDirectory() as directory:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        path, libraries = copied("pgbouncer", "pgbouncer", Path(directory))
        users = Path(directory, "users")
        with connected(dsn) as connection, connection.cursor() as cursor:
            cursor.execute(sql.SQL("alter role {} password 'known'").format(sql.Identifier(behind["user"])))
        users.write_text(f'"{behind["user"]}" "known"\n')
        configuration = Path(directory, "ini")
        # by TCP, since the server's socket is for its own user only
        target = f"host=127.0.0.1 port={behind['port']} dbname={behind['dbname']}"
        configuration.write_text(
            f"[databases]\n{behind['dbname']} = {target}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
            f"unix_socket_dir =\nauth_type = trust\nauth_file = {users}\npool_mode = {mode}\n"
            "ignore_startup_parameters = options,extra_float_digits\ndefault_pool_size = 30\n"
        )
        for readable in (Path(directory), users, configuration):
            readable.chmod(0o755)
        probe.close()
        # pgbouncer refuses to run as root
        user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
        with psutil.Popen([path, "-q", configuration], env=libraries, user=user) as process:
            try:
                through = make_dsn(host="127.0.0.1", port=port, user=behind["user"], dbname=behind["dbname"])
                wait_until(lambda: _answers(port), PATIENCE, "the pooler to accept connections")
                yield through
            finally:
                process.kill()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_sessions_that_change_hands_are_told_from_those_that_do_not(database: str) -> None:
    with contextlib.closing(connect(database, "test")) as direct:
        direct.autocommit = True
        assert not is_pooled(direct, database)
    for mode, shared in (("session", False), ("transaction", True)):
        with pooler(database, mode) as through, contextlib.closing(connect(through, "test")) as connection:
            connection.autocommit = True
            assert is_pooled(connection, through) is shared


def test_transaction_pooling_is_refused_at_the_start(database: str, tmp_path: Path) -> None:
    with pooler(database, "transaction") as through:
        result = subprocess.run(
            command(tmp_path, "--database", through), capture_output=True, text=True, env=environment(),
            timeout=PATIENCE, check=False,
        )  # fmt: skip
    assert result.returncode == 2
    assert "transaction pooling" in result.stderr
    assert "session mode" in result.stderr


def test_jobs_run_through_a_pooler_in_session_mode(database: str, tmp_path: Path) -> None:
    with (
        pooler(database, "session") as through,
        queue(database) as jobs,
        supervised(through, tmp_path, "root:2"),
    ):
        jobs.wait_for(jobs.sample(1).with_delay().write().uuid, "done")
