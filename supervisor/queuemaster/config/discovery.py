"""The databases that are served when none is named: all that Odoo's user owns, as in Odoo's own list."""

from __future__ import annotations

import re

from psycopg2.extensions import make_dsn

from queuejobs.store.connection import connect
from queuemaster.config.compiled import DatabaseConfig, Discovery

PATIENCE = 10  # seconds for a server to answer

# Without templates and databases that allow no connections. Plan: a scan of pg_database, some rows.
_OWNED = """
select datname from pg_database
 where pg_get_userbyid(datdba) = current_user and not datistemplate and datallowconn
   and datname <> all(%s)
 order by datname
"""


def find(discovery: Discovery) -> tuple[DatabaseConfig, ...]:
    """Ask the server, over one short connection; sorted by name. Raises psycopg2.Error when it is away."""
    connection = connect(discovery.dsn, "queuemaster discovery", connect_timeout=PATIENCE)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(_OWNED, (["postgres", discovery.template],))
            names = sorted(name for (name,) in cursor.fetchall())
    finally:
        connection.close()
    return tuple(
        DatabaseConfig(name, make_dsn(discovery.dsn, dbname=name))
        for name in names
        # match, as Odoo does: the beginning counts, an empty pattern matches all
        if re.match(discovery.pattern, name)
    )
