"""The Yuma epoch on numpy arrays, bit for bit (YUMA sections 1-4)."""
