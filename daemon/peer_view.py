"""What commands and programs may know of the running peer, as one Protocol that the assembled node implements.

The registry of methods (`registry.py`) is written against it alone, so the whole control interface can be tested with a
small peer in memory. Everything here is a value: nothing hands out a live part of the peer except the mempool.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from ..consensus.block import Block
from ..consensus.chain_spec import ChainSpec
from ..consensus.rules.interface import BlockOutcome, Event
from ..consensus.state.state import State
from ..consensus.transaction import TransactionDomain
from ..consensus.types import Hash32, Height, Micros
from .admission import Admission
from .mempool import Mempool

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OwnAuthority:
    """How this peer takes part in the voting."""

    public_key: bytes
    """Authority key, 32 bytes."""
    hotkey: bytes | None
    """Hotkey that registered it; None while none has."""
    in_set: bool
    """Whether it sits in the set of the running era."""
    weight: int
    """Its weight in that set in rao, 0 outside."""
    abstaining: str
    """Why it does not vote although it sits in the set; empty when it votes."""


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """One look at the whole peer."""

    name: str
    version: str
    network: str
    """Name in the chain spec."""
    profile: str
    genesis_hash: Hash32
    fork_digest: bytes
    peer_id: str
    addresses: tuple[str, ...]
    """Bootstrap strings others can join by: `<multiaddr>/p2p/<peer id>#<genesis hash>`."""
    started: Micros
    now: Micros
    slot_length: Micros
    head: Hash32
    height: Height
    """Of the head: the newest notarised block on the final chain."""
    finalised: Hash32
    finalised_height: Height
    finalised_time: Micros
    """Start of the slot of the finalised block; genesis time at genesis."""
    state_root: Hash32
    """After the finalised block."""
    era: int
    view: int
    level: int
    """Failed views since the last final block: above 2 timers stretch."""
    authorities: int
    """Members of the running era's set."""
    missing_weight: int
    """Weight that no vote of the current view has come from yet and that a quorum still needs, in rao."""
    total_weight: int
    peers: int
    syncing_to: Height | None
    """Height another peer has proven and this one is fetching; None when it follows the head."""
    epochs: int
    """Yuma epochs executed in final blocks since this process started."""
    finality_p50_ms: float | None
    finality_p99_ms: float | None
    clock_offset_ms: float | None
    """Median difference of other peers' clocks; None before any was heard."""
    own_authority: OwnAuthority | None
    """None for a follower."""


@dataclass(frozen=True, slots=True)
class PeerEntry:
    """One connected peer."""

    peer_id: str
    address: str
    outbound: bool
    connected_since: Micros
    agent: str
    finalised_height: Height | None
    """From its last status; None before the first."""
    score: float
    """Of the peer ledger: 0 is neutral, below -20 it is disconnected."""
    exchanging: bool
    """Whether votes are exchanged with it."""


@dataclass(frozen=True, slots=True)
class FoundBlock:
    """A block by height or hash."""

    block: Block
    hash: Hash32
    final: bool
    outcome: BlockOutcome | None
    """What its execution gave; None when that is no longer remembered."""


@dataclass(frozen=True, slots=True)
class TransactionResult:
    """What became of an included transaction."""

    code: int
    """0 for success."""
    fee: int
    """Rao paid, tip included."""
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class FoundTransaction:
    """A transaction that is in a block here; one that waits is the mempool's to tell."""

    data: bytes
    height: Height
    position: int
    """Index in the block's list."""
    block_hash: Hash32
    final: bool
    result: TransactionResult | None
    """None when the result is no longer remembered."""


class PeerView(Protocol):
    """The running peer as the control interface sees it. Handlers run on the peer's own loop."""

    @property
    def spec(self) -> ChainSpec: ...

    @property
    def genesis_hash(self) -> Hash32: ...

    @property
    def transaction_domain(self) -> TransactionDomain:
        """What transactions for the next block must be signed for."""
        ...

    @property
    def mempool(self) -> Mempool:
        """The pool, for what needs no state: `find`, `get`, `entries`, `stats`, `own`."""
        ...

    def status(self) -> PeerStatus: ...

    def peers(self) -> Sequence[PeerEntry]:
        """Connected peers, in any order."""
        ...

    async def block(self, at: Height | Hash32) -> FoundBlock | None:
        """The block of a height (final, or on the way to the head) or of a hash; None when it is not here."""
        ...

    async def read(self, reader: Callable[[State], T]) -> T:
        """The result of a read of the finalised state; whatever `reader` raises."""
        ...

    async def ask_pool(self, question: Callable[[Mempool], T]) -> T:
        """The result of a question to the pool that looks at the state: `next_nonce`, `why_waiting`."""
        ...

    async def submit(self, data: bytes) -> Admission:
        """Offer an own transaction to the mempool; what is accepted is remembered over a restart and gossiped."""
        ...

    async def explain(self, netuid: int, uid: int, at: Height | None) -> dict[str, Any]:
        """Why a neuron was paid what it was paid at an epoch. Raises NotFoundError without a record of it."""
        ...

    async def find_transaction(self, transaction_id: Hash32) -> FoundTransaction | None:
        """An included transaction by id, above F first."""
        ...
