"""The one table of blake2b-256 personalisations (DESIGN section 7 encoding, CHAIN 4.1).

Each use of the hash has its own domain, so bytes hashed for one purpose can never stand for another.
"""

from __future__ import annotations

from enum import Enum
from hashlib import blake2b

from .types import Hash32


class Domain(Enum):
    """Personalisation of each hash, at most 16 bytes."""

    LEAF = b"yumad/leaf"
    NODE = b"yumad/node"
    COLUMNS = b"yumad/columns"
    BLOCK = b"yumad/block"
    COMMIT = b"yumad/commit"
    TRANSACTION = b"yumad/tx"
    TRANSACTION_BYTES = b"yumad/txbytes"
    VOTE = b"yumad/vote"
    ERA = b"yumad/era"
    SEED = b"yumad/seed"
    LEADER = b"yumad/leader"
    SPEC = b"yumad/spec"
    FORK = b"yumad/fork"
    POSSESSION = b"yumad/possess"
    RESTART = b"yumad/restart"
    ADMIN = b"yumad/admin"
    GUARD = b"yumad/guard"
    MESSAGE = b"yumad/message"
    PEER_RECORD = b"yumad/peer"
    RECEIPT = b"yumad/receipt"
    ENVELOPE = b"yumad/envelope"
    REPLY = b"yumad/reply"
    TRAILER = b"yumad/trailer"
    SERVICE_RECORD = b"yumad/service"
    REACH_REPORT = b"yumad/reach"
    PEER_CERTIFICATE = b"yumad/peercert"


def digest(domain: Domain, *parts: bytes) -> Hash32:
    """blake2b-256 of the concatenated `parts` under `domain`.

    Concatenation is unambiguous only for fixed-width parts; encode anything else as one CBOR array first.
    """
    state = blake2b(digest_size=32, person=domain.value)
    for part in parts:
        state.update(part)
    return Hash32(state.digest())
