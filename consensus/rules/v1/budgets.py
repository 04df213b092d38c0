"""How much fits into a block: declared weight, bytes, and the share reserved for operational calls (CHAIN 3).

Weight is declared, never measured: a slow machine must not decide otherwise than a fast one (CHAIN 5.8).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ...block import MAX_BODY_BYTES

WEIGHT_SHARE: Final = 12
"""A block may take a twelfth of its slot: leader and voter execute one after the other."""

RESERVED: Final = (1, 4)
"""Share of weight and bytes that paid calls leave to weights, reveals and heartbeats."""

BLOCK_WEIGHT: Final = 1_000
"""Microseconds of a block's own start and end on the reference machine: prices, emission, hashes, roots."""

EPOCH_WEIGHT: Final = 6_000
"""Microseconds of one epoch of a full subnet: 2 ms arithmetic, the rest reading, storing and paying 256 rows."""

BYTE_WEIGHT: Final = (1, 4)
"""Microseconds per byte of a transaction: a weight of four bytes is checked, upscaled and stored in one."""

BODY_OVERHEAD: Final = 16 * 1024
"""Bytes of a body that transactions leave to the certificate (8 KiB), evidence (4 x 400) and array heads."""

MAX_TRANSACTIONS_BYTES: Final = MAX_BODY_BYTES - BODY_OVERHEAD

TRANSACTION_OVERHEAD: Final = 5
"""Bytes of the head that each transaction's byte string has in the body."""


def transaction_weight(call_weight: int, size: int) -> int:
    """Declared microseconds of a transaction of `size` bytes."""
    return call_weight + size * BYTE_WEIGHT[0] // BYTE_WEIGHT[1]


@dataclass(slots=True)
class Budget:
    """What is left of one block. Mutable: it counts down while the block executes."""

    weight: int
    """Microseconds for transactions, operational and paid together."""
    paid_weight: int
    """Of these, what paid calls may still use."""
    size: int
    paid_size: int

    @staticmethod
    def of_block(slot_length: int, epochs: int) -> Budget:
        """The budget of a block that ran `epochs` epochs; nothing is left if they took all of it."""
        weight = max(0, slot_length // WEIGHT_SHARE - BLOCK_WEIGHT - epochs * EPOCH_WEIGHT)
        reserved, parts = RESERVED
        return Budget(
            weight=weight,
            paid_weight=weight - weight * reserved // parts,
            size=MAX_TRANSACTIONS_BYTES,
            paid_size=MAX_TRANSACTIONS_BYTES - MAX_TRANSACTIONS_BYTES * reserved // parts,
        )

    def fits(self, weight: int, size: int, *, operational: bool) -> bool:
        """Whether one more transaction fits its lane."""
        size += TRANSACTION_OVERHEAD
        if weight > self.weight or size > self.size:
            return False
        return operational or (weight <= self.paid_weight and size <= self.paid_size)

    def spend(self, weight: int, size: int, *, operational: bool) -> None:
        """Count a transaction that fits."""
        size += TRANSACTION_OVERHEAD
        self.weight -= weight
        self.size -= size
        if not operational:
            self.paid_weight -= weight
            self.paid_size -= size
