"""The exporter's process: ``python -m queuemaster.exporter``, exec'd by the master."""

from gevent import monkey

monkey.patch_all()

from queuemaster.exporter.process import main  # noqa: E402  (patching comes first)

main()
