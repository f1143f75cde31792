"""The key by which the jobs of a channel are ordered: those with lesser keys start first."""

from __future__ import annotations

from typing import Tuple

# priority, date_created, id. date_created is ISO text, always with six decimals of the second, so that the order of the
# texts is the order in time.
Key = Tuple[int, str, int]

LEAST: Key = (-(2**31), "-infinity", 0)  # before the key of any job
