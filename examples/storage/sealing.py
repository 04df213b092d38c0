"""A shard looks different on every miner: it is masked with a stream that only the validator can make.

Two miners that hold the same shard hold unrelated bytes, so neither can answer for the other, one copy cannot be shown
for two, and nothing can be dropped and made again, or packed: to its holder it is noise.
"""

from __future__ import annotations

from hashlib import blake2b, shake_256

import numpy as np


def shard_id(secret: bytes, stripe: bytes, index: int, hotkey: str) -> bytes:
    """16 bytes by which the holder knows the shard; they tell nothing about its stripe."""
    return blake2b(stripe + bytes([index]) + hotkey.encode(), key=secret, digest_size=16, person=b"shard id").digest()


def mask(secret: bytes, stripe: bytes, index: int, hotkey: str, data: bytes) -> bytes:
    """Seal a shard for its holder; the same again opens it. `secret` is 32 bytes and never leaves the validator."""
    key = blake2b(stripe + bytes([index]) + hotkey.encode(), key=secret, person=b"shard mask").digest()
    stream = np.frombuffer(shake_256(key).digest(len(data)), dtype=np.uint8)
    return (np.frombuffer(data, dtype=np.uint8) ^ stream).tobytes()
