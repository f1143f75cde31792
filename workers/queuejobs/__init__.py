"""What an application imports: delay calls of methods as jobs in PostgreSQL.

Standard library and psycopg2 only, Python 3.8 and later. The names of :mod:`queuejobs.api` are loaded when the
first of them is used: the service's master imports modules of this package that are not among them, and must
not load a database driver along.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import *  # noqa: F403


def __getattr__(name: str) -> Any:
    # a module of ours that is not loaded yet is no public name, and whoever imports it may be one of ours
    is_public = not name.startswith("__") and importlib.util.find_spec(f"{__name__}.{name}") is None
    if is_public or name == "__all__":
        api = importlib.import_module(".api", __name__)
        if name == "__all__" or name in api.__all__:
            return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
