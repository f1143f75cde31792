"""The process that execs, adopts, reaps, kills and resizes.

It never speaks SQL, starts a thread, imports gevent or application code, or forks without exec: nothing that happens
to a database or a job may take supervision down.
"""
