"""The channel tree: what may start next. Pure: time is an argument, nothing here waits, reads or sends.

``parse``     a configuration string → channels and warnings
``tree``      channels → where a job belongs, what bounds it, how many workers to keep ready
``keys``      what the values of a channel's keys mean
``override``  what an operator changed live → the channels with the limits in force
``bucket``    the tokens of a channel with a rate
``heads``     what is known of the ready jobs of one stored channel of one database
``schedule``  slots in use, and the candidate that starts next

Channels are pipes that flow into one another: a job takes a slot in its own channel and in each one on
the way down to the root, so the narrowest pipe on the way sets the limit.
"""

from __future__ import annotations

from .heads import WINDOW, Head
from .override import Override, overridden
from .parse import ChannelSyntaxError, Parsed, parse_channels
from .schedule import Candidate, Scheduler
from .tree import Tree

__all__ = [
    "WINDOW",
    "Candidate",
    "ChannelSyntaxError",
    "Head",
    "Override",
    "Parsed",
    "Scheduler",
    "Tree",
    "overridden",
    "parse_channels",
]
