"""An authority key that signs nothing which its guard has not stored first (CHAIN 1.3 R7-R9, second signer).

The guard's file is written in a thread of its own, so that a slow disk delays votes and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable

from ..consensus.block import Block
from ..consensus.certificate import Certificate
from ..consensus.effects import Restarted
from ..consensus.signature import KeyPair
from ..consensus.statement import SignedStatement, Statement, VoteDomain, signing_digest
from ..consensus.types import AuthorityKey, Era, Hash32, Height, Micros
from ..storage.guard import Floor, VoteGuard
from .chain_home import StandingPoint, remembered
from .execution import Flushes, Runner


class GuardedKey:
    """One key in one vote domain. Every method has flushed when it returns; StorageError when the disk refuses."""

    def __init__(
        self, key: KeyPair, guard: VoteGuard, domain: VoteDomain, runner: Runner, flushes: Flushes | None = None
    ) -> None:
        """`runner` serves this guard alone; `flushes` hears how long its writes take."""
        self._key = key
        self._guard = guard
        self._domain = domain
        self._runner = runner
        self._flushes = flushes or Flushes()
        self._floor = self._guard.floor(domain.genesis_hash, domain.restart_hash)

    @property
    def public_key(self) -> AuthorityKey:
        """Names the key in authority sets."""
        return AuthorityKey(self._key.public_key)

    async def sign(self, statement: Statement, index: int, block: Block | None) -> SignedStatement | None:
        """Sign and store, with the block that the statement vouches for in the same flush (R9); then it may leave.

        None at or below the guard's floor, where nothing new is ever signed. Raises GuardRefusal for a statement that
        contradicts a stored one.
        """
        floor = self._floor
        if floor is not None and (statement.era, statement.view) <= (floor.era, floor.view):
            return None
        signed = SignedStatement(statement, index, self._key.sign(signing_digest(self._domain, statement)))
        genesis_hash, restart_hash = self._domain.genesis_hash, self._domain.restart_hash
        await self._write(lambda: self._guard.record_vote(genesis_hash, restart_hash, signed, block))
        return signed

    async def store_certificate(self, certificate: Certificate) -> None:
        """Store a certificate before anything that follows from it leaves (R11)."""
        genesis_hash, restart_hash = self._domain.genesis_hash, self._domain.restart_hash
        await self._write(lambda: self._guard.store_certificate(genesis_hash, restart_hash, certificate))

    async def raise_floor(self, finality: Certificate, height: Height) -> None:
        """The chain database holds the final block of `finality`, of that height: forget what F has passed (R7)."""
        statement = finality.statement
        genesis_hash, restart_hash = self._domain.genesis_hash, self._domain.restart_hash
        await self._write(
            lambda: self._guard.raise_floor(
                genesis_hash, restart_hash, statement.era, statement.view, finalised_height=height
            )
        )
        floor = self._floor
        if floor is None or (floor.era, floor.view) < (statement.era, statement.view):
            self._floor = Floor(statement.era, statement.view)

    async def judge_foreign(self, era: Era, signed: SignedStatement, now: Micros) -> bool:
        """Whether a statement of this key that this process never made proves a second signer; then it is stored."""
        genesis_hash, restart_hash = self._domain.genesis_hash, self._domain.restart_hash
        return await self._runner.run(
            lambda: self._guard.record_second_signer(genesis_hash, restart_hash, era, signed, now)
        )

    async def remembered(self, point: StandingPoint, listens_until: Micros) -> Restarted:
        """What the guard knows of the era of `point`, as the event that makes an engine stand there."""
        genesis_hash = self._domain.genesis_hash
        return await self._runner.run(lambda: remembered(genesis_hash, point, self._guard, listens_until))

    async def block(self, block_hash: Hash32) -> Block | None:
        """A body above F that this key vouched for."""
        return await self._runner.run(lambda: self._guard.block(self._domain.genesis_hash, block_hash))

    async def _write(self, write: Callable[[], None]) -> None:
        def timed() -> None:
            with self._flushes.timed("guard"):
                write()

        await self._runner.run(timed)
