"""The chain as other peers may read it (protocols.interfaces.ChainReader): stored blocks, and what is held above F."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..consensus.authority import AuthoritySet
from ..consensus.block import encode_block
from ..consensus.certificate import Certificate
from ..consensus.engine import Engine
from ..consensus.header import Header
from ..consensus.types import Era, Hash32, Height
from ..storage.chain import ChainStore, FinalisedPoint
from .block_pool import BlockPool


class ServedChain:
    """Reads go straight to the store (a row by key each) or to memory."""

    def __init__(
        self,
        store: ChainStore,
        engine: Callable[[], Engine],
        pool: Callable[[], BlockPool],
        transaction: Callable[[Hash32], bytes | None],
    ) -> None:
        """`engine` and `pool` are asked at each use: a peer that stops listening and starts voting changes them."""
        self._store = store
        self._engine = engine
        self._pool = pool
        self._transaction = transaction
        self._spec_bytes = store.spec_bytes()

    def finalised(self) -> FinalisedPoint:
        """F."""
        return self._store.finalised()

    def header(self, height: Height) -> Header | None:
        """Header of a final block."""
        return self._store.header(height)

    def height_of(self, block_hash: Hash32) -> Height | None:
        """Height of a final block."""
        return self._store.height_of(block_hash)

    def block_bytes(self, height: Height) -> bytes | None:
        """A final block whose body is kept."""
        return self._store.block_bytes(height)

    def certificate(self, height: Height) -> Certificate | None:
        """Finality certificate of exactly this block, when one is kept."""
        return self._store.certificate(height)

    def boundary_proof(self, era: Era) -> tuple[Header, Certificate, AuthoritySet] | None:
        """Boundary header of an era that is over, its certificate and the next set."""
        return self._store.boundary_proof(era)

    def restart_files(self, era: Era) -> Sequence[bytes]:
        """None were ever loaded by this version."""
        return ()

    def spec_bytes(self) -> bytes:
        """Canonical bytes of the chain spec."""
        return self._spec_bytes

    def pending_block(self, block_hash: Hash32) -> bytes | None:
        """A block above F that this peer holds."""
        block = self._pool().get(block_hash)
        return None if block is None else encode_block(block)

    def held_certificates(self, era: Era) -> Sequence[Certificate]:
        """Certificates above F of the running era."""
        engine = self._engine()
        return engine.held_certificates() if era == engine.era else ()

    def pool_transaction(self, bytes_hash: Hash32) -> bytes | None:
        """A pooled transaction."""
        return self._transaction(bytes_hash)
