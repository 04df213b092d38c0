"""Dynamic TAO as pure arithmetic: emission, pools, the block pipeline, and who gets an epoch's payout (DTAO 0-5)."""
