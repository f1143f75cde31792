"""The states of a job, with the values that they have in the database, the addon's too."""

from __future__ import annotations

import enum


class JobState(str, enum.Enum):
    """Use ``.value`` in SQL, JSON and texts: what an f-string makes of a member depends on Python's version."""

    WAIT_DEPENDENCIES = "wait_dependencies"  # until all its parents are done
    PENDING = "pending"  # ready, or due at its eta
    ENQUEUED = "enqueued"  # beside Odoo: handed to a worker, which has not started it yet
    STARTED = "started"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
