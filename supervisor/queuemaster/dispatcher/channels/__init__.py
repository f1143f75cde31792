"""The channel tree: what may start next. Pure: time is an argument, nothing here waits, reads or sends.

``parse``     a configuration string → channels and warnings
``tree``      channels → where a job belongs, what bounds it, how many workers to keep ready
``heads``     what is known of the ready jobs of one stored channel of one database
``schedule``  slots in use, and the candidate that starts next

Channels are pipes that flow into one another: a job takes a slot in its own channel and in each one on
the way down to the root, so the narrowest pipe of the way is what counts.
"""

from __future__ import annotations

from queuemaster.dispatcher.channels.heads import WINDOW, Head, Key
from queuemaster.dispatcher.channels.parse import ChannelSyntaxError, Parsed, parse_channels
from queuemaster.dispatcher.channels.schedule import Candidate, Scheduler
from queuemaster.dispatcher.channels.tree import Tree

__all__ = [
    "WINDOW",
    "Candidate",
    "ChannelSyntaxError",
    "Head",
    "Key",
    "Parsed",
    "Scheduler",
    "Tree",
    "parse_channels",
]
