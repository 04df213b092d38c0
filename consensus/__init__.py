"""The rules: pure and deterministic. No I/O, clock, randomness, trio or floats (CHAIN section 5)."""
