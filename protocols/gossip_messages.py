"""The payload of the transactions topic; the other topics carry one consensus object in its own encoding (CHAIN 3, 7).

`[[transaction bytes…], [whole-byte hash…]]`: small transactions inline, larger ones announced and pulled by
`transactions/1`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..consensus import cbor
from ..consensus.types import Hash32, MalformedError
from .limits import INLINE_TRANSACTION, MAX_BATCH, MAX_TRANSACTIONS_GOSSIP


@dataclass(frozen=True, slots=True)
class TransactionBatch:
    """At most MAX_BATCH transactions and announcements together."""

    inline: tuple[bytes, ...]
    """Whole transaction bytes, at most INLINE_TRANSACTION each."""
    announced: tuple[Hash32, ...]
    """Hashes of whole transaction bytes."""


def encode_batch(batch: TransactionBatch) -> bytes:
    """Canonical bytes."""
    return cbor.encode([list(batch.inline), list(batch.announced)])


def decode_batch(data: bytes) -> TransactionBatch:
    """Inverse of `encode_batch`. Raises MalformedError, also for an empty batch and for repetitions."""
    inline, announced = cbor.as_array(cbor.decode(data, max_bytes=MAX_TRANSACTIONS_GOSSIP), 2, what="batch")
    inline = cbor.as_array(inline, what="inline transactions", most=MAX_BATCH)
    announced = cbor.as_array(announced, what="announced hashes", most=MAX_BATCH - len(inline))
    batch = TransactionBatch(
        tuple(cbor.as_bytes(item, what="transaction", most=INLINE_TRANSACTION) for item in inline),
        tuple(Hash32(cbor.as_bytes(item, 32, what="transaction hash")) for item in announced),
    )
    if not inline and not announced:
        raise MalformedError("a batch carries at least one transaction")
    if len(set(batch.inline)) != len(inline) or len(set(batch.announced)) != len(announced):
        raise MalformedError("a batch carries nothing twice")
    return batch
