"""Compute a job's related action in the application's interpreter: ``PYTHON bootstrap.py related-action FD``.

Related actions are the application's code, which must not run in our command or exporter. Standard input is a JSON
object with ``dsn``, ``uuid`` and ``app``. The answer, a JSON object with ``action`` or with ``error`` (a sentence), is
written to the file descriptor FD, since the application may print to standard output.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
from typing import Any, Dict

from ..environment import Environment
from ..job import Job
from ..store.connection import connect

_log = logging.getLogger("queuemaster.related")


def main() -> None:
    """Entry point; see bootstrap.py."""
    request: Dict[str, Any] = json.load(sys.stdin)
    with os.fdopen(int(sys.argv[2]), "w") as answer:
        json.dump(_answer(request), answer, default=str)


def _answer(request: Dict[str, Any]) -> Dict[str, Any]:
    sys.path.insert(0, os.getcwd())
    for name in request["app"]:
        try:
            importlib.import_module(name)
        except BaseException as error:  # an application may also raise SystemExit at import
            _log.exception("cannot import the application: module %s", name)
            return {"error": f"the application's module {name} cannot be imported: {_described(error)}"}
    try:
        connection = connect(request["dsn"], "queuemaster: related action")
        try:
            # never committed: looking at a job must not change anything
            return {"action": Job.load(Environment(connection), request["uuid"]).related_action()}
        finally:
            connection.close()
    except Exception as error:  # the application's code may raise anything
        _log.exception("related action of job %s failed", request["uuid"])
        return {"error": f"the related action of job {request['uuid']} failed: {_described(error)}"}


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
