"""The exporter's process: ``python -m queuemaster.exporter``, exec'd by the master."""

import os

# before anything that takes time: neither scrapes nor restarts may take the processors from jobs
os.nice(10)

from gevent import monkey  # noqa: E402

monkey.patch_all()

from .process import main  # noqa: E402  (patching comes first)

main()
