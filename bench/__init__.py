"""Benchmarks, one a module: ``python -m bench.drain``, ``python -m bench.latency``, …"""
