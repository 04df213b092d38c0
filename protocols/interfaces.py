"""What the protocols ask of the rest of a peer, as typing Protocols that `daemon` wires (DESIGN 2, 7).

Readers answer from memory or a local database within a millisecond; they are called on the network's task.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..consensus.authority import AuthoritySet
from ..consensus.block import Block
from ..consensus.certificate import Certificate
from ..consensus.header import Header
from ..consensus.statement import VoteDomain
from ..consensus.timing import Timing
from ..consensus.transaction import TransactionDomain
from ..consensus.types import Era, Hash32, Height, Micros, View, YumadError


class Clock(Protocol):
    """Wall clock. Deadlines use trio's clock instead, so that tests run in virtual time."""

    def now(self) -> Micros:
        """Unix time in microseconds."""
        ...


class Rng(Protocol):
    """The part of `random.Random` that is used."""

    def random(self) -> float:
        """A float in [0, 1)."""
        ...

    def randrange(self, start: int, stop: int) -> int:
        """An integer in [start, stop)."""
        ...

    def getrandbits(self, k: int) -> int:
        """An integer of `k` random bits."""
        ...


class FinalisedPoint(Protocol):
    """The newest final block, as the chain database knows it."""

    @property
    def hash(self) -> Hash32:
        """Block hash; the genesis hash at height 0."""
        ...

    @property
    def height(self) -> Height: ...

    @property
    def view(self) -> View:
        """View of the finality certificate, in `era`."""
        ...

    @property
    def era(self) -> Era:
        """Era of the finality certificate; 0 at genesis."""
        ...

    @property
    def certificate(self) -> Certificate | None:
        """None at genesis."""
        ...


class ChainReader(Protocol):
    """Read side of the chain, for serving requests. Heights without a stored row give None."""

    def finalised(self) -> FinalisedPoint: ...

    def header(self, height: Height) -> Header | None: ...

    def height_of(self, block_hash: Hash32) -> Height | None:
        """Height of a final block."""
        ...

    def block_bytes(self, height: Height) -> bytes | None:
        """`encode_block` of a final block whose body is still kept."""
        ...

    def certificate(self, height: Height) -> Certificate | None:
        """Finality certificate of exactly this block, when one is kept."""
        ...

    def boundary_proof(self, era: Era) -> tuple[Header, Certificate, AuthoritySet] | None:
        """Boundary header of `era`, its finality certificate and the set of `era + 1`; None while the era runs."""
        ...

    def restart_files(self, era: Era) -> Sequence[bytes]:
        """Restart files whose point lies in `era`, oldest first; empty on a chain that never restarted."""
        ...

    def spec_bytes(self) -> bytes:
        """Canonical bytes of the chain spec."""
        ...

    def pending_block(self, block_hash: Hash32) -> bytes | None:
        """`encode_block` of a block above F that this peer holds."""
        ...

    def held_certificates(self, era: Era) -> Sequence[Certificate]:
        """Certificates above F of the running era; empty for another era."""
        ...

    def pool_transaction(self, bytes_hash: Hash32) -> bytes | None:
        """Bytes of a pooled transaction by the hash of its whole bytes."""
        ...


class BadBlock(YumadError):
    """Re-execution of a block did not give what its header says."""

    code = "bad_block"

    def __init__(self, height: Height, reason: str) -> None:
        super().__init__(f"block {height} cannot be applied: {reason}")
        self.height = height
        self.reason = reason


class ChainSink(Protocol):
    """Write side of sync: executes and makes final what sync has proven."""

    async def apply_range(self, blocks: Sequence[Block], certificate: Certificate, authorities: AuthoritySet) -> None:
        """Execute `blocks` (contiguous, of one era, the first stands on F) and make them final in one transaction.

        `certificate` finalises the last of them and has been verified under `authorities`, the set of its era. Raises
        BadBlock when execution disagrees; nothing of the range is kept then.
        """
        ...


class ConsensusView(Protocol):
    """What gossip and the vote exchange must know of the running consensus; answered from engine and state."""

    @property
    def vote_domain(self) -> VoteDomain: ...

    @property
    def transaction_domain(self) -> TransactionDomain: ...

    @property
    def previous_transaction_domain(self) -> TransactionDomain | None:
        """Domain before the last change of rules or restart: what was signed for it is late, not forged."""
        ...

    @property
    def timing(self) -> Timing: ...

    @property
    def era(self) -> Era:
        """Era being voted in."""
        ...

    @property
    def view(self) -> View:
        """Current view of that era."""
        ...

    @property
    def finalised_view(self) -> View:
        """F's view in that era; 0 while nothing of it is final."""
        ...

    def authorities(self, era: Era) -> AuthoritySet | None:
        """Set of the running era, or of a past one whose evidence still counts; None otherwise."""
        ...

    def finality(self, era: Era) -> Certificate | None:
        """Certificate of F for the running era, of the boundary block for an era that is over."""
        ...
