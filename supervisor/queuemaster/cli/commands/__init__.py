"""One command of ``queuemaster`` a file."""
