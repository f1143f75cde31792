"""Odoo in this process: found, configured by its own odoo.conf, its registries loaded, its connections named.

Odoo is imported by name and only from here: everything else of ours must load where there is none. What differs
between its versions is asked of the thing itself (has it this method, this parameter?), not of a version number.
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
from typing import Any, ContextManager, Dict, Iterable, Iterator, Optional

import psycopg2
from psycopg2.extensions import parse_dsn

from ....shared.log import event
from ....store.oca import has_addon
from ...settings import Database

_log = logging.getLogger("queuemaster.odoo")

_LANG = "en_US"  # of a request that asks for none


def module(name: str) -> Any:
    """A module of Odoo's or of the addon's."""
    return sys.modules.get(name) or importlib.import_module(name)


def configure(conf: str, path: str) -> None:
    """Import Odoo and have it read its configuration; its logging stays ours. Raises ImportError, SystemExit.

    ``path``: a directory with Odoo's code, empty when the interpreter has it.
    """
    if path:
        sys.path.insert(0, path)
    os.environ["TZ"] = "UTC"  # as Odoo's own start does: naive times are UTC everywhere in it
    time.tzset()
    if importlib.util.find_spec("odoo.init"):  # 19: what `import odoo` does in the others
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
    """The name that Odoo knows it by."""
    return str(parse_dsn(database.dsn).get("dbname", database.name))


def preload(conf: str, path: str, databases: Iterable[Database]) -> None:
    """For the template: everything that workers share. No connection is left open.

    A database that cannot be read now is none of our failures: the workers load it when it is back.
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
        except Exception:  # the code of any addon runs here
            _log.exception("registry of database %s cannot be loaded", name)
            continue
        event(_log, logging.INFO, "registry loaded", db=name, took=round(time.monotonic() - started, 2))
    module("odoo.sql_db").close_all()


def registry(database: str) -> Any:
    """The registry of a database, loaded on first use."""
    return module("odoo.modules.registry").Registry(database)


def refreshed(known: Any, cursor: Any) -> Any:
    """The registry as it is now: caches emptied, or loaded anew, as other processes have signalled."""
    # newer ones can do so in a transaction that is there anyway
    takes = "cr" in inspect.signature(known.check_signaling).parameters
    return known.check_signaling(cursor) if takes else known.check_signaling()


def environment(cursor: Any) -> Any:
    """The superuser's environment, as the addon begins with: the context is what its HTTP request has."""
    return module("odoo.api").Environment(cursor, module("odoo").SUPERUSER_ID, {"lang": _LANG})


def environments() -> ContextManager[Any]:
    """What Odoo 14 wants around anything that has environments."""
    manage = getattr(module("odoo.api").Environment, "manage", contextlib.nullcontext)
    entered: ContextManager[Any] = manage()
    return entered


def flush(cursor: Any, env: Any) -> None:
    """Write what the ORM still holds back."""
    if hasattr(env, "flush_all"):
        env.flush_all()
    else:
        env["base"].flush()
    if hasattr(cursor, "flush"):
        cursor.flush()  # and what was put off until just before the commit


def close(cursor: Any) -> None:
    """Roll back and give the connection back, if it is still there."""
    try:
        cursor.close()
    except psycopg2.Error as error:
        _log.debug("the cursor's connection is gone: %s", str(error).strip())


class JobConnections:
    """Every connection that Odoo opens in this worker bears the name by which recovery finds and ends it.

    The name is given when a connection is opened: what is set later, the pool would reset at the next use.
    """

    def __init__(self) -> None:
        self._sql_db = module("odoo.sql_db")
        self._named: Dict[str, str] = {}  # by database
        pool = self._sql_db.ConnectionPool
        borrow = pool.borrow
        # a name has a blank in it, which the pool of old versions does not expect in a DSN
        if hasattr(pool, "_dsn_to_dict"):
            pool._dsn_to_dict = lambda _, dsn: parse_dsn(dsn)
        pool.borrow = lambda given, info: borrow(given, self._with_name(info))

    def name(self, database: str, worker_id: int) -> None:
        """From now on the connections to this database are the job sessions of this worker."""
        named = f"queuemaster: job {worker_id}"
        before = self._named.get(database)
        if before != named:
            self._named[database] = named
            if before is not None:
                self._sql_db.close_all()  # those of the lost session would stay in the pool

    def _with_name(self, info: Dict[str, Any]) -> Dict[str, Any]:
        # nothing but the name: a pooler that Odoo's connections go through would refuse other settings
        return {**info, "application_name": self._named.get(info.get("database", ""), "queuemaster: job")}

    def cancel(self) -> None:
        """Cancel what any of them is at; from another thread. Raises psycopg2.Error when that failed."""
        failed: Optional[psycopg2.Error] = None
        for connection in self._busy():
            try:
                connection.cancel()
            except psycopg2.Error as error:
                failed = error
        if failed is not None:
            raise failed

    def _busy(self) -> Iterator[Any]:
        for name in ("_Pool", "_Pool_readonly"):
            pool = getattr(self._sql_db, name, None)
            for entry in list(pool._connections) if pool is not None else ():
                connection = entry if hasattr(entry, "cancel") else entry[0]
                used = entry._pool_in_use if connection is entry else entry[1]
                if used and not connection.closed:
                    yield connection


def _has_addon(database: str) -> bool:
    with contextlib.closing(module("odoo.sql_db").db_connect(database).cursor()) as cursor:
        return has_addon(cursor)
