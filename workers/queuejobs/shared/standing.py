"""What a dispatcher is to a database."""

from __future__ import annotations

import enum


class Standing(str, enum.Enum):
    """What the dispatcher is to a database. The values stand in documents and messages."""

    LEADS = "leads"
    STANDS_BY = "stands by"  # another supervisor leads it
    AWAY = "away"  # there is no connection
    NOT_SERVED = "not served"  # there is no queue for us: Odoo's, without the addon, or behind a pooler
    QUARANTINED = "quarantined"  # it answers, and has refused what we ask too often
