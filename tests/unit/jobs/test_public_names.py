"""What an import of a public name loads, in a fresh interpreter, since this one has loaded everything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

WORKERS = Path(__file__).parents[3] / "workers"


@pytest.mark.parametrize("name", ["Environment", "JobError", "Model", "chain"])
def test_any_public_name_brings_the_model_of_the_queue(name: str) -> None:
    """Delaying a call needs that model, so an application that imports only ``Model`` must load it."""
    script = f"from queuejobs import {name}; from queuejobs.registry import find; print(find('queue.job'))"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=WORKERS
    )
    assert "queuejobs.queue.Queue" in result.stdout, result.stderr


def test_the_package_alone_loads_no_database_driver() -> None:
    """The service's master imports modules of the package and must not load a driver."""
    script = "import sys, queuejobs; print('psycopg2' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=WORKERS
    )
    assert result.stdout == "False\n"
