"""Rule sets by version; each folder under it is one complete set (DESIGN 4.3)."""
