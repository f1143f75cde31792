"""How large an interpreter with the application in it is: import it as the template does, look, and end.

``bootstrap.py footprint DESCRIPTOR MODULE…``; the answer goes to the descriptor, since an application may print.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
from typing import Any, Dict

from . import template  # noqa: F401  (all that a worker runs with)


def main() -> None:
    """Entry point; see bootstrap.py."""
    descriptor, names = int(sys.argv[2]), sys.argv[3:]
    sys.path.insert(0, os.getcwd())
    answer: Dict[str, Any] = {}
    for name in names:
        try:
            importlib.import_module(name)
        except BaseException as error:  # an application may also raise SystemExit at import
            answer = {"error": f"module {name}: {type(error).__name__}: {error}"}
            break
    else:
        gc.collect()
        answer = {"resident": _resident()}
    with os.fdopen(descriptor, "w") as stream:
        json.dump(answer, stream)
    sys.stdout.flush()
    os._exit(0)  # whatever the application has started, threads too, ends here


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as stream:
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
