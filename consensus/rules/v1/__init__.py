"""Rule set v1: Bittensor at spec 425 (YUMA, DTAO), re-computed by every peer."""
