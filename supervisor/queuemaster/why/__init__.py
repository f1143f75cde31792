"""Why is this job not running: facts are read from the database, then judged gate by gate.

``facts``       what is known of one job and of everything in its way
``statements``  the SQL
``reading``     one database → facts; read-only
``gates``       facts and channels → a verdict for each gate. Pure, like all below
``opening``     when a throttle or a rate lets the next job through
``answer``      all gates in turn, and one sentence
``naming``      jobs as parts of a sentence
"""
