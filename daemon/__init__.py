"""What a peer does: node assembly, producer, mempool, control socket, command line (DESIGN 2)."""
