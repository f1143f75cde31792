"""Odoo in this process: import it, configure it with its odoo.conf, load its registries, name its connections.

Odoo is imported at run time and only here, since all other modules must load without Odoo. Where its versions differ,
we look for the method or parameter in question and not at the version number.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import logging
import os
import sys
import time
from typing import Any, ContextManager, Dict, Iterable, Iterator, Optional, Tuple

import psycopg2
from psycopg2.extensions import parse_dsn

from ....shared.log import event
from ....store.oca import has_addon
from ...settings import Database

_log = logging.getLogger("queuemaster.odoo")

_LANG = "en_US"  # the language of a request that names none


def module(name: str) -> Any:
    """A module of Odoo, imported when it is first used."""
    return sys.modules.get(name) or importlib.import_module(name)


def addon(name: str) -> Any:
    """A module of the addon queue_job, such as ``job`` or ``controllers.main``."""
    return module(f"odoo.addons.queue_job.{name}")


def configure(conf: str, path: str) -> None:
    """Import Odoo and let it read its configuration, except for logging. Raises ImportError, SystemExit.

    ``conf``: path of odoo.conf. ``path``: directory with Odoo's code, empty if Odoo is installed in the interpreter.
    """
    if path:
        sys.path.insert(0, path)
    os.environ["TZ"] = "UTC"  # as Odoo's own start does, since naive times are UTC throughout Odoo
    time.tzset()
    if importlib.util.find_spec("odoo.init"):  # Odoo 19; in other versions `import odoo` does what this does
        module("odoo.init")
    odoo = module("odoo")
    if hasattr(odoo, "multi_process"):
        odoo.multi_process = True
    config = module("odoo.tools").config
    if "setup_logging" in inspect.signature(config.parse_config).parameters:
        config.parse_config(["-c", conf], setup_logging=False)
    else:
        config._parse_config(["-c", conf])
        module("odoo.modules.module").initialize_sys_path()


def dbname(database: Database) -> str:
    """The database's name in PostgreSQL, by which Odoo knows it."""
    return str(parse_dsn(database.dsn).get("dbname", database.name))


def preload(conf: str, path: str, databases: Iterable[Database]) -> None:
    """Load Odoo and the registries in the template, for its workers to share. No connection is left open.

    A database that cannot be read is skipped: the workers load its registry on first use.
    """
    configure(conf, path)
    module("odoo.service.server").load_server_wide_modules()
    for name in map(dbname, databases):
        started = time.monotonic()
        try:
            if not _has_addon(name):
                event(_log, logging.WARNING, "registry not loaded: no addon queue_job", db=name)
                continue
            registry(name)
        except Exception:  # loading runs code of all installed addons
            _log.exception("registry of database %s cannot be loaded", name)
            continue
        event(_log, logging.INFO, "registry loaded", db=name, took=round(time.monotonic() - started, 2))
    module("odoo.sql_db").close_all()


def registry(database: str) -> Any:
    """The registry of a database, loaded on first use."""
    return module("odoo.modules.registry").Registry(database)


def refreshed(known: Any, cursor: Any) -> Any:
    """The current registry: caches are emptied, or a new one is loaded, as other processes have signalled."""
    # newer versions can read the signals with our cursor instead of a new one
    takes_cursor = "cr" in inspect.signature(known.check_signaling).parameters
    return known.check_signaling(cursor) if takes_cursor else known.check_signaling()


def environment(cursor: Any) -> Any:
    """The superuser's environment, with the context of an HTTP request, in which the addon starts a job."""
    return module("odoo.api").Environment(cursor, module("odoo").SUPERUSER_ID, {"lang": _LANG})


def environments() -> ContextManager[Any]:
    """The context manager that Odoo 14 requires around any use of environments; in later versions it does nothing."""
    manage = getattr(module("odoo.api").Environment, "manage", contextlib.nullcontext)
    managed: ContextManager[Any] = manage()
    return managed


def flush(cursor: Any, env: Any) -> None:
    """Write the ORM's pending changes to the database."""
    if hasattr(env, "flush_all"):
        env.flush_all()
    else:
        env["base"].flush()
    if hasattr(cursor, "flush"):
        cursor.flush()  # runs the functions that are registered for the time just before the commit


def close(cursor: Any) -> None:
    """Roll back and return the connection to its pool. A lost connection is no error."""
    try:
        cursor.close()
    except psycopg2.Error as error:
        _log.debug("the cursor's connection is gone: %s", str(error).strip())


class JobConnections:
    """Give every connection that Odoo opens in this worker the name by which recovery finds and ends it.

    The name is set as a connection is opened: the pool would reset a later setting at the next use.
    """

    def __init__(self) -> None:
        self._sql_db = module("odoo.sql_db")
        self._names: Dict[str, str] = {}  # by database: the name of its connections
        pool = self._sql_db.ConnectionPool
        borrow = pool.borrow
        # the pool of old versions cannot parse a DSN with the blank that our names contain
        if hasattr(pool, "_dsn_to_dict"):
            pool._dsn_to_dict = lambda _, dsn: parse_dsn(dsn)
        pool.borrow = lambda instance, info: borrow(instance, self._with_name(info))

    def name(self, database: str, worker_id: int) -> None:
        """From now on, name the connections to this database after this worker id."""
        name = f"queuemaster: job {worker_id}"
        previous = self._names.get(database)
        if previous != name:
            self._names[database] = name
            if previous is not None:
                self._sql_db.close_all()  # connections named after the lost session would stay in the pool

    def _with_name(self, info: Dict[str, Any]) -> Dict[str, Any]:
        # no other setting: a connection pooler between Odoo and PostgreSQL would refuse it
        return {**info, "application_name": self._names.get(info.get("database", ""), "queuemaster: job")}

    def cancel(self) -> None:
        """Cancel the statements of all connections in use, from another thread.

        If that fails for any of them, raises the last psycopg2.Error when all have been tried.
        """
        failed: Optional[psycopg2.Error] = None
        for connection in self._busy():
            try:
                connection.cancel()
            except psycopg2.Error as error:
                failed = error
        if failed is not None:
            raise failed

    def opened(self) -> Iterator[Any]:
        """The connections of Odoo's pools, in use or not."""
        return (connection for connection, _ in self._pooled())

    def _busy(self) -> Iterator[Any]:
        return (connection for connection, used in self._pooled() if used and not connection.closed)

    def _pooled(self) -> Iterator[Tuple[Any, bool]]:
        """Each connection with whether it is in use."""
        for name in ("_Pool", "_Pool_readonly"):
            pool = getattr(self._sql_db, name, None)
            for entry in list(pool._connections) if pool is not None else ():
                connection = entry if hasattr(entry, "cancel") else entry[0]
                yield connection, entry._pool_in_use if connection is entry else entry[1]


def _has_addon(database: str) -> bool:
    with contextlib.closing(module("odoo.sql_db").db_connect(database).cursor()) as cursor:
        return has_addon(cursor)
