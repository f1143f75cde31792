"""Default directories."""

from __future__ import annotations

import os
from pathlib import Path


def default_data_dir() -> Path:
    """``$QUEUEMASTER_DATA_DIR``, else ``$XDG_DATA_HOME/queuemaster/postgresql``; for root under ``/var/lib``."""
    if os.environ.get("QUEUEMASTER_DATA_DIR"):
        return Path(os.environ["QUEUEMASTER_DATA_DIR"]).absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/queuemaster/postgresql")
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home, "queuemaster", "postgresql")
