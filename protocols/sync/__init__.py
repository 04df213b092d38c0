"""Catching up with the network: proof walk, range sync, follow (CHAIN 2.2)."""
