"""The master's process: ``python -m queuemaster.master``, which the command line becomes by exec."""

from __future__ import annotations

import argparse
import logging
import os
import sys

from queuejobs.shared.log import event
from queuemaster.config.compiled import Settings

from .report import open_log
from .shell import Master


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="queuemaster master")
    parser.add_argument("--settings-fd", type=int, required=True)
    # open only so that the lock on it lasts as long as we do
    parser.add_argument("--pidfile-fd", type=int)
    options = parser.parse_args()
    for fd in (options.settings_fd, options.pidfile_fd):
        if fd is not None:
            os.set_inheritable(fd, False)
    settings = Settings.from_descriptor(options.settings_fd)
    open_log(settings)
    logger = logging.getLogger("queuemaster.master")
    channels = ",".join(channel.name for channel in settings.channels)
    event(logger, logging.INFO, "starting", channels=channels, workers=sum(settings.pools.values()))
    status = Master(settings, options.settings_fd).run()
    if options.pidfile_fd is not None:
        os.ftruncate(options.pidfile_fd, 0)
    sys.exit(status)


main()
