"""A job's related action, asked for in the application's interpreter: ``PYTHON bootstrap.py related-action FD``.

Related actions are the application's code, so neither the command nor the exporter may run them. One JSON object comes
in on standard input: ``dsn``, ``uuid``, ``app``. One goes out on the descriptor FD: ``action``, or ``error`` in
words; standard output is the application's, which may print what it likes.
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
            return {"error": f"the application's module {name} cannot be imported: {_words(error)}"}
    try:
        connection = connect(request["dsn"], "queuemaster: related action")
        try:
            # never committed: to look at a job changes nothing
            return {"action": Job.load(Environment(connection), request["uuid"]).related_action()}
        finally:
            connection.close()
    except Exception as error:  # whatever the application raises
        _log.exception("related action of job %s failed", request["uuid"])
        return {"error": f"the related action of job {request['uuid']} failed: {_words(error)}"}


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
