"""Queuemaster: a preforking supervisor for job queues in PostgreSQL."""

__version__ = "0.1.0"
