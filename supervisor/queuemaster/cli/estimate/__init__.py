"""What the configuration takes: memory and connections, estimated for ``check --explain``."""
