"""When a throttle or a rate lets the next job through, as far as past starts tell. Pure; ages are seconds.

The dispatcher's own buckets are in its memory; here they are filled anew from the starts that the database
remembers, one for each job. What was tried again since, or removed, is missing: the truth may be later.
"""

from __future__ import annotations

import math
from collections.abc import Collection

from queuemaster.channels.bucket import Bucket


def throttled_for(starts: Collection[float], throttle: float) -> float:
    """Seconds until ``throttle`` seconds have passed since the last start; 0: they have."""
    return max(throttle - min(starts, default=math.inf), 0.0) if throttle else 0.0


def without_token_for(starts: Collection[float], rate: float, burst: int) -> float:
    """Seconds until a token is there; 0: one is."""
    if not rate or not starts:
        return 0.0
    # full before the first start that is known
    bucket = Bucket(rate, burst, -max(starts) - burst / rate)
    for ago in sorted(starts, reverse=True):
        bucket = bucket.taken(-ago)
    return max(bucket.opening(), 0.0)
