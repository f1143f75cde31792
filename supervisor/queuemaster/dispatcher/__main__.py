"""The dispatcher's process: ``python -m queuemaster.dispatcher``, exec'd by the master."""

from gevent import monkey

monkey.patch_all()

from .process import main  # noqa: E402  (patching comes first)

main()
