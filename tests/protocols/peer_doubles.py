"""Doubles for protocol tests: authorities with real keys, chains with real certificates, recorded penalties.

Only what a protocol cannot bring itself is doubled (engine, storage, execution); signatures, hashes, codecs and streams
are the real ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

from yumad.consensus.authority import NO_SET, Authority, AuthoritySet, era_seed
from yumad.consensus.block import Block, Body, Proposal, commit_root, encode_block, tx_root
from yumad.consensus.certificate import Certificate, certificate_from_votes
from yumad.consensus.header import Header, block_hash
from yumad.consensus.leader import leader_index
from yumad.consensus.signature import KeyPair
from yumad.consensus.statement import Kind, SignedStatement, Statement, VoteDomain, nullify, signing_digest
from yumad.consensus.timing import Timing
from yumad.consensus.transaction import TransactionDomain, fork_digest
from yumad.consensus.types import (
    ZERO_HASH,
    AuthorityKey,
    Era,
    Hash32,
    Height,
    Micros,
    Slot,
    View,
)
from yumad.protocols.interfaces import BadBlock
from yumad.protocols.peer_ledger import Offence
from yumad.protocols.transport import PeerId

GENESIS = Hash32(bytes.fromhex("ab" * 32))
DOMAIN = VoteDomain(GENESIS)
DIGEST = fork_digest(GENESIS, 1, ZERO_HASH)
TX_DOMAIN = TransactionDomain(GENESIS, DIGEST)
TIMING = Timing(Micros(1_000_000_000), Micros(2_000_000), 20)
NO_BLOCK = Hash32(b"\x77" * 32)


def key(number: int) -> KeyPair:
    """Authority key `number`."""
    return KeyPair(number.to_bytes(4, "big") * 8)


class Authorities:
    """A set with its keys, in the order of the set."""

    def __init__(self, numbers: Sequence[int], seed: Hash32, weight: int = 100) -> None:
        keys = sorted((key(number) for number in numbers), key=lambda pair: pair.public_key)
        self.keys = keys
        self.set = AuthoritySet(tuple(Authority(AuthorityKey(pair.public_key), weight) for pair in keys), seed)

    def sign(self, index: int, statement: Statement, domain: VoteDomain = DOMAIN) -> SignedStatement:
        """Statement of the member at `index`."""
        return SignedStatement(statement, index, self.keys[index].sign(signing_digest(domain, statement)))

    def certificate(self, statement: Statement, *, without: int = 0, domain: VoteDomain = DOMAIN) -> Certificate:
        """Certificate by all but the last `without` members."""
        signers = range(len(self.keys) - without)
        return certificate_from_votes([self.sign(index, statement, domain) for index in signers])


def statement(kind: Kind, view: int, *, era: int = 0, block: Hash32 = NO_BLOCK, parent: int | None = None) -> Statement:
    """A statement with ordinary fields."""
    if kind is Kind.NULLIFY:
        return nullify(Era(era), View(view))
    return Statement(kind, Era(era), View(view), View(view - 1 if parent is None else parent), block)


@dataclass
class FixedClock:
    """A clock that stands where it is put."""

    time: int = 1_000_000_000 + 1_000 * 2_000_000

    def now(self) -> Micros:
        return Micros(self.time)


@dataclass
class RecordedPenalties:
    """Remembers what was reported."""

    offences: list[tuple[PeerId, Offence]] = field(default_factory=list)
    useful_peers: list[PeerId] = field(default_factory=list)

    def offend(self, peer: PeerId, offence: Offence) -> None:
        self.offences.append((peer, offence))

    def useful(self, peer: PeerId) -> None:
        self.useful_peers.append(peer)


@dataclass
class FakeView:
    """A consensus view whose fields a test sets."""

    sets: dict[int, AuthoritySet]
    era: Era = Era(0)
    view: View = View(1)
    finalised_view: View = View(0)
    certificates: dict[int, Certificate] = field(default_factory=dict)
    vote_domain: VoteDomain = DOMAIN
    transaction_domain: TransactionDomain = TX_DOMAIN
    previous_transaction_domain: TransactionDomain | None = None
    timing: Timing = TIMING

    def authorities(self, era: Era) -> AuthoritySet | None:
        return self.sets.get(era)

    def finality(self, era: Era) -> Certificate | None:
        return self.certificates.get(era)


class MadeChain:
    """A finalised chain with real headers, sets and certificates; one view per block, a rotating set per era."""

    def __init__(self, *, era_blocks: int = 20, members: int = 4, genesis: Hash32 = GENESIS, salt: int = 0) -> None:
        self.era_blocks = era_blocks
        self.genesis = genesis
        self.domain = VoteDomain(genesis)
        self.timing = replace(TIMING, era_blocks=era_blocks)
        self.salt = salt
        self.members = members
        self.blocks: list[Block] = []
        self.certificates: dict[int, Certificate] = {}
        self.eras: dict[int, Authorities] = {0: Authorities(range(members), era_seed(genesis, Era(0), None))}
        self.boundaries: dict[int, Hash32] = {}
        self.spec = b"chain spec"
        self.served: list[tuple[str, object]] = []

    # --- growing ----------------------------------------------------------------------------------------------------

    def grow(self, count: int, *, transactions: int = 1) -> MadeChain:
        """Append `count` final blocks."""
        for _ in range(count):
            self._append(transactions)
        return self

    def _append(self, transactions: int) -> None:
        height = len(self.blocks) + 1
        era = (height - 1) // self.era_blocks
        authorities = self.eras[era]
        view = height - era * self.era_blocks
        body = Body(None, (), tuple(b"%d/%d/%d" % (self.salt, height, n) for n in range(transactions)))
        next_hash = NO_SET
        if height == (era + 1) * self.era_blocks:
            source = self.boundaries.get(era - 1)
            seed = era_seed(self.genesis, Era(era + 1), source)
            members = range(era + 1, era + 1 + self.members)
            self.eras[era + 1] = Authorities(members, seed)
            next_hash = self.eras[era + 1].set.hash
        header = Header(
            rules_version=1,
            height=Height(height),
            era=Era(era),
            slot=Slot(height),
            parent_hash=self.hash_at(height - 1),
            proposer_index=leader_index(authorities.set, view),
            tx_root=tx_root(body),
            results_root=ZERO_HASH,
            state_root=Hash32(height.to_bytes(32, "big")),
            authorities_hash=authorities.set.hash,
            next_authorities_hash=next_hash,
            commit_root=commit_root(body),
            signal=1,
        )
        block = Block(header, body)
        self.blocks.append(block)
        final = statement(Kind.FINALIZE, view, era=era, block=block.hash)
        self.certificates[height] = authorities.certificate(final, without=1, domain=self.domain)
        if height == (era + 1) * self.era_blocks:
            self.boundaries[era] = block.hash

    def hash_at(self, height: int) -> Hash32:
        """Hash of the block at `height`; the genesis hash at 0."""
        return self.genesis if height == 0 else block_hash(self.blocks[height - 1].header)

    # --- ChainReader ------------------------------------------------------------------------------------------------

    def finalised(self) -> SimpleNamespace:
        height = len(self.blocks)
        certificate = self.certificates.get(height)
        return SimpleNamespace(
            hash=self.hash_at(height),
            height=Height(height),
            view=View(0) if certificate is None else certificate.statement.view,
            era=Era(0) if certificate is None else certificate.statement.era,
            certificate=certificate,
        )

    def header(self, height: Height) -> Header | None:
        return self.blocks[height - 1].header if 0 < height <= len(self.blocks) else None

    def height_of(self, name: Hash32) -> Height | None:
        return next((block.header.height for block in self.blocks if block.hash == name), None)

    def block_bytes(self, height: Height) -> bytes | None:
        return encode_block(self.blocks[height - 1]) if 0 < height <= len(self.blocks) else None

    def certificate(self, height: Height) -> Certificate | None:
        return self.certificates.get(height)

    def boundary_proof(self, era: Era) -> tuple[Header, Certificate, AuthoritySet] | None:
        height = (era + 1) * self.era_blocks
        if height > len(self.blocks):
            return None
        return self.blocks[height - 1].header, self.certificates[height], self.eras[era + 1].set

    def restart_files(self, era: Era) -> Sequence[bytes]:
        return ()

    def spec_bytes(self) -> bytes:
        return self.spec

    def pending_block(self, name: Hash32) -> bytes | None:
        return None

    def held_certificates(self, era: Era) -> Sequence[Certificate]:
        return ()

    def pool_transaction(self, name: Hash32) -> bytes | None:
        return None


@dataclass
class RecordedSink:
    """Takes ranges and checks that they are contiguous and of one set; `bad` heights fail as an execution would."""

    genesis: Hash32 = GENESIS
    start: int = 0
    start_hash: Hash32 | None = None
    bad: dict[int, int] = field(default_factory=dict)
    """Height -> how many times it still fails."""
    ranges: list[tuple[int, int]] = field(default_factory=list)

    @property
    def height(self) -> int:
        return self.ranges[-1][1] if self.ranges else self.start

    async def apply_range(self, blocks: Sequence[Block], certificate: Certificate, authorities: AuthoritySet) -> None:
        parent = (self.start_hash or self.genesis) if not self.ranges else self.last
        for block in blocks:
            assert block.header.parent_hash == parent
            assert block.header.authorities_hash == authorities.hash
            parent = block.hash
            if self.bad.get(block.header.height, 0) > 0:
                self.bad[block.header.height] -= 1
                raise BadBlock(block.header.height, "state root differs")
        assert certificate.statement.block_hash == parent
        self.last = parent
        self.ranges.append((blocks[0].header.height, blocks[-1].header.height))


def propose(authorities: Authorities, block: Block, view: int, *, era: int = 0, parent: int | None = None) -> Proposal:
    """The leader's signed proposal of `block` in `view`."""
    words = statement(Kind.PROPOSE, view, era=era, block=block.hash, parent=parent)
    return Proposal(authorities.sign(leader_index(authorities.set, view), words), block)
