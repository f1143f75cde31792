"""Start one of our programs in the application's interpreter: ``PYTHON bootstrap.py [PROGRAM] OPTION…``.

``PROGRAM`` is a key of ``_PROGRAMS``; without one it is the template.

The package ``queuejobs`` is loaded from its folder, and the site-packages directory around it is not put on the
path: the installed packages of the service and of the application never mix.
"""

import importlib
import importlib.util
import os
import sys

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PROGRAMS = {"related-action": "queuejobs.worker.action", "footprint": "queuejobs.worker.footprint"}


def _load_package() -> None:
    # Python puts the directory of a script first on the path: our modules would hide the application's
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
    _program = _PROGRAMS.get("".join(sys.argv[1:2]), "queuejobs.worker.template")
    importlib.import_module(_program).main()
