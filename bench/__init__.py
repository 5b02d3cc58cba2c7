"""Benchmarks: each prints our figure, the peer's from the same run, and their ratio."""
