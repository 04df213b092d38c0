"""The rules: pure, deterministic, without I/O, clock, randomness or floats (DESIGN 2, CHAIN 5).

Nothing in here imports from `storage`, `protocols` or `daemon`.
"""
