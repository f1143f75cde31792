"""The command ``queuemaster``, also ``python -m queuemaster``.

The bare distribution, for applications, has no dependencies: there the command only says which packages are missing.
This file must load on every Python that the bare package supports.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

OLDEST_PYTHON = (3, 10)
NEEDED = {  # module → distribution
    "click": "click",
    "rich": "rich",
    "pydantic": "pydantic",
    "psycopg2": "psycopg2-binary",
    "psutil": "psutil",
    "setproctitle": "setproctitle",
    "gevent": "gevent",
}


def main() -> None:
    """Run the command line, unless what it needs is not installed."""
    if sys.version_info < OLDEST_PYTHON:
        version = "{}.{}".format(*sys.version_info)
        _refuse(f"the service needs Python 3.10 or newer, this is {version}: install it under a newer one")
    missing = [distribution for module, distribution in NEEDED.items() if find_spec(module) is None]
    if missing:
        _refuse(
            f"the service's packages are not installed here (missing: {', '.join(missing)})."
            ' Install them with: pip install "queuemaster[service]"'
        )
    # only now: the command line needs the packages above. Any other ImportError is a fault and must show itself
    from queuemaster.cli import main as run

    run(prog_name="queuemaster")


def _refuse(reason: str) -> None:
    sys.stderr.write(f"queuemaster: {reason}\n")
    sys.exit(2)


if __name__ == "__main__":
    main()
