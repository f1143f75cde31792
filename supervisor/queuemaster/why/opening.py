"""When a throttle or a rate lets the next job through, estimated from past starts. Pure; ages are seconds.

The dispatcher's buckets are in its memory; here they are computed from the starts that the database has, the last one
of each job. Earlier tries and removed jobs are missing, so the next start may in fact come later.
"""

from __future__ import annotations

import math
from collections.abc import Collection

from queuemaster.channels.bucket import Bucket


def throttled_for(starts: Collection[float], throttle: float) -> float:
    """Seconds until ``throttle`` seconds have passed since the last start; 0 when they have."""
    return max(throttle - min(starts, default=math.inf), 0.0) if throttle else 0.0


def without_token_for(starts: Collection[float], rate: float, burst: int) -> float:
    """Seconds until the bucket has a token; 0 when it has one."""
    if not rate or not starts:
        return 0.0
    # the bucket is taken to be full before the first known start
    bucket = Bucket(rate, burst, -max(starts) - burst / rate)
    for ago in sorted(starts, reverse=True):
        bucket = bucket.taken(-ago)
    return max(bucket.opening(), 0.0)
