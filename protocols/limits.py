"""Sizes, counts, quotas and timeouts of everything a peer says, as one table (CHAIN 1.5, 2.1, 3 "Spread", 7).

A quota is counted per peer by the server, in the unit named beside it; the client never asks for more than a request's
largest count. Every number here bounds memory or work that a stranger can cause.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..consensus.block import MAX_BLOCK_BYTES, MAX_PROPOSAL_BYTES, MAX_TRANSACTION_BYTES
from ..consensus.certificate import MAX_CERTIFICATE_BYTES
from ..consensus.evidence import MAX_EVIDENCE_BYTES

KIB: Final = 1024
MIB: Final = 1024 * 1024

FIRST_BYTE_TIMEOUT: Final = 5.0
"""Seconds a server has to begin a reply, its own throttling delay included."""

REPLY_TIMEOUT: Final = 15.0
"""Seconds for a whole reply. 4 MiB in 15 s is 2.2 Mbit/s, the least a useful source offers."""

REQUEST_TIMEOUT: Final = 5.0
"""Seconds a client has to send its request once the stream is open."""

OPEN_TIMEOUT: Final = 5.0
"""Seconds to negotiate a stream."""

THROTTLE_DELAY: Final = 4.5
"""Seconds a peer over its quota waits at most before it is answered "throttled": delay costs less than retries.

CHAIN allows 5 s, and 5 s for the first byte; half a second less lets that answer still arrive in time.
"""

MAX_OPEN_PER_PEER: Final = 2
"""Open requests per protocol and peer, on both sides (the bound of Ethereum's phase 0 text)."""

MAX_SERVED_STREAMS: Final = 64
"""Requests served at one time, all peers together."""

MAX_BYTES_IN_FLIGHT: Final = 32 * MIB
"""Reply bytes being written at one time, all peers together."""

MAX_REPLY_BYTES: Final = 4 * MIB
"""Of one reply; a requester pages."""

MAX_QUOTA_PEERS: Final = 1024
"""Peers whose quotas are remembered; the longest silent is forgotten first: its buckets are full again anyway."""

# --- counts of one request -------------------------------------------------------------------------------------------

MAX_ERA_PROOFS: Final = 32
MAX_HEADERS: Final = 512
MAX_BLOCKS: Final = 128
MAX_BLOCK_HASHES: Final = 32
MAX_CERTIFICATES: Final = 64
MAX_TRANSACTION_HASHES: Final = 128
MAX_PEER_RECORDS: Final = 32
MAX_PEER_RECORD_BYTES: Final = 1 * KIB
MAX_SNAPSHOTS_HELD: Final = 4
CHAINSPEC_PAGE_BYTES: Final = 1 * MIB
MAX_CHAINSPEC_PAGES: Final = 64
"""64 MiB of chain spec; the real network's genesis is under 2 MiB."""
MAX_RESTART_FILES: Final = 8
"""Restart files in one era's proof: each is a human decision."""
MAX_RESTART_FILE_BYTES: Final = 16 * KIB
MIN_GENESIS_PREFIX: Final = 16
"""Bytes of a genesis hash that name a chain spec. Four bytes are 2^32 work to forge (CHAIN 2.2)."""


@dataclass(frozen=True, slots=True)
class Quota:
    """`units` per `seconds`, as a token bucket that starts full."""

    units: int
    seconds: int


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Bounds of one request protocol."""

    name: str
    request_bytes: int
    """Largest request, without its length prefix."""
    chunk_bytes: int
    """Largest reply chunk, code included."""
    chunks: int
    """Most chunks of a reply."""
    quota: Quota
    """In the protocol's own unit: requests, headers, blocks, hashes, … as its row says."""
    byte_quota: Quota | None = None
    """Second quota in reply bytes."""


_CHUNK_FRAME: Final = 16
"""`[code, payload]` around a payload takes at most 7 bytes."""

_MAX_ERA_PROOF_BYTES: Final = 512 + 2 * MAX_CERTIFICATE_BYTES + MAX_RESTART_FILES * MAX_RESTART_FILE_BYTES + 64
"""A header, a certificate, a set of as many members, restart files."""

REQUESTS: Final = {
    limits.name: limits
    for limits in (
        RequestLimits("chainspec", 64, CHAINSPEC_PAGE_BYTES + 64, 1, Quota(4, 60)),  # requests
        RequestLimits("status", 512, 512 + _CHUNK_FRAME, 1, Quota(4, 15)),  # requests
        RequestLimits("era_proofs", 32, _MAX_ERA_PROOF_BYTES + _CHUNK_FRAME, MAX_ERA_PROOFS, Quota(8, 10)),  # requests
        RequestLimits("headers", 32, 1 * MIB, 1, Quota(2048, 10)),  # headers
        RequestLimits(  # blocks, and bytes
            "blocks", 32, MAX_BLOCK_BYTES + _CHUNK_FRAME, MAX_BLOCKS, Quota(1024, 10), Quota(16 * MIB, 10)
        ),
        RequestLimits(  # hashes
            "blocks_by_hash",
            34 * MAX_BLOCK_HASHES + 8,
            MAX_BLOCK_BYTES + _CHUNK_FRAME,
            MAX_BLOCK_HASHES,
            Quota(128, 10),
        ),
        RequestLimits(  # certificates asked for
            "certificates",
            16 * MAX_CERTIFICATES + 16,
            MAX_CERTIFICATE_BYTES + _CHUNK_FRAME,
            MAX_CERTIFICATES,
            Quota(256, 10),
        ),
        RequestLimits(  # hashes
            "transactions",
            34 * MAX_TRANSACTION_HASHES + 8,
            MAX_TRANSACTION_BYTES + _CHUNK_FRAME,
            MAX_TRANSACTION_HASHES,
            Quota(1024, 10),
        ),
        RequestLimits("peers", 8, MAX_PEER_RECORDS * (MAX_PEER_RECORD_BYTES + 4) + 16, 1, Quota(2, 60)),  # requests
    )
}
"""Bounds by protocol name (CHAIN 2.1)."""

PACED: Final = ("era_proofs", "headers", "blocks", "blocks_by_hash", "certificates")
"""Protocols whose quota counts what the chain makes: written for 12 s slots, multiplied on faster chains."""

# --- gossip ----------------------------------------------------------------------------------------------------------

INLINE_TRANSACTION: Final = 1 * KIB
"""Transactions up to this size travel inside a batch, larger ones are announced by hash and pulled."""

MAX_BATCH: Final = 32
"""Transactions and announcements in one gossip message."""

BATCH_DELAY: Final = 0.1
"""Seconds a transaction waits for company: at 8 ms a delivery, batches carry ten times what single messages do."""

MAX_BATCHES_PER_SECOND: Final = 10
"""Own transaction messages published a second."""

ANNOUNCEMENTS: Final = Quota(256, 10)
"""Announced hashes of one forwarding peer. An announcement is relayed unseen, so it must not be free without end."""

MAX_PROPOSAL_GOSSIP: Final = MAX_PROPOSAL_BYTES
MAX_TRANSACTIONS_GOSSIP: Final = MAX_BATCH * (INLINE_TRANSACTION + 8) + 16
MAX_FINALITY_GOSSIP: Final = MAX_CERTIFICATE_BYTES
MAX_EVIDENCE_GOSSIP: Final = MAX_EVIDENCE_BYTES

HELD_PROPOSAL_BYTES: Final = 8 * MIB
"""Proposals that passed their check and wait for the driver."""

HELD_TRANSACTION_BYTES: Final = 4 * MIB
"""Transactions that passed their check and wait for the pool."""

HELD_ITEMS: Final = 4096
"""Items of any kind that wait in one queue."""

MAX_SEEN_TRANSACTIONS: Final = 16_384
"""Whole-byte hashes remembered as seen: twice the pool."""

# --- vote exchange ---------------------------------------------------------------------------------------------------

MAX_FRAME_ITEMS: Final = 128
MAX_FRAME_BYTES: Final = 64 * KIB
"""One frame of the exchange: items and bytes, without the length prefix."""

RANDOM_NEIGHBOURS: Final = 4
AUTHORITY_NEIGHBOURS: Final = 4
"""Neighbours that a peer chooses for the exchange."""

MAX_EXCHANGE_SESSIONS: Final = 32
"""Sessions in both directions: four times what a peer chooses itself."""

MAX_FRAMES_PER_SECOND: Final = 200
"""Frames a neighbour may send a second; an honest one sends one a tick (20 ms at the least) and a few at once."""
