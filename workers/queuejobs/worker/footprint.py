"""How much memory the application needs: a process that imports it as the template does, measures itself and ends.

``bootstrap.py footprint DESCRIPTOR MODULE…``. The answer goes to the descriptor, since an application may print.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
from typing import Any, Dict

from ..shared.linux import resident_memory
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
        answer = {"resident": resident_memory(os.getpid())}
    with os.fdopen(descriptor, "w") as stream:
        json.dump(answer, stream)
    sys.stdout.flush()
    os._exit(0)  # without waiting for threads and exit handlers of the application
