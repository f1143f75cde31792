"""Why is this job not running: what is read about it (``reading``), and what follows from that (``gates``, pure).

``facts``    what is known of one job and of all that stands in its way
``reading``  one database → facts; read-only
``gates``    facts and channels → a verdict for each gate, and one sentence
``words``    times and jobs, as people say them
"""
