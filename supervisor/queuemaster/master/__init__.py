"""The process that execs, adopts, reaps and kills all others, and resizes the pools of workers.

It never speaks SQL, starts a thread, imports gevent or application code, or forks without exec: whatever happens to a
database or a job, supervision goes on.
"""
