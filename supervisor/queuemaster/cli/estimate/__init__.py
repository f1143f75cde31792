"""The memory, processes and connections that a configuration needs, estimated for ``check --explain``."""
