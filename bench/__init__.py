"""Benchmarks: ``python -m bench.drain``, ``bench.latency``, ``bench.recovery``."""
