"""Chain state: integer columns under a chunked Merkle tree, with rollback and proofs (DESIGN 4.2, CHAIN 4)."""
