"""What a peer keeps: chain database, vote guard, peer list, keystore (DESIGN 2, CHAIN 4.4)."""
