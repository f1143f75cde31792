"""A signal for a worker and all that it has started."""

from __future__ import annotations

import os


def signal_group(pid: int, signum: int) -> None:
    """``pid``: a child of ours that is not reaped, so that the number is surely its own, also when it is dead."""
    try:
        os.killpg(pid, signum)
        return
    except ProcessLookupError:
        group = os.getpgid(pid)  # it does not lead one yet: that of the process between the template and it
    if group == os.getpgrp():
        os.kill(pid, signum)  # never ours, in which the template is too
    else:
        os.killpg(group, signum)
