"""State: integer columns in memory under a Merkle commitment (CHAIN section 4)."""
