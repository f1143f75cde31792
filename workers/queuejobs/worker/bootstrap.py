"""Start a part of ours in the application's interpreter: ``PYTHON bootstrap.py OPTION…``.

The template, or what ``_OTHERS`` names when that is the first argument.

Only the package ``queuejobs`` is put on its path, not the site-packages that it lies in: the service's
environment and the application's never mix.
"""

import importlib
import importlib.util
import os
import sys

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


_OTHERS = {"related-action": "queuejobs.worker.action", "footprint": "queuejobs.worker.footprint"}


def _load_package() -> None:
    # running a script puts its directory first on the path: our modules would shadow the application's
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != os.path.join(_PACKAGE, "worker")]
    spec = importlib.util.spec_from_file_location(
        "queuejobs", os.path.join(_PACKAGE, "__init__.py"), submodule_search_locations=[_PACKAGE]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["queuejobs"] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    _load_package()
    _other = _OTHERS.get("".join(sys.argv[1:2]))
    importlib.import_module(_other or "queuejobs.worker.template").main()
