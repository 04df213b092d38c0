"""Attacks by a peer that keeps every rule of the transport and breaks those above it: what it says, not how.

It dials with a fresh key, speaks gossip, requests and the vote exchange properly, and puts into them what no honest
peer would: noise, valid messages altered, cut or spelled otherwise, things signed by the wrong key or for another
network. `Material` holds valid messages of the live chain to start from.
"""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

import trio
from adversary.attacks import Attack, AttackReport
from yumad.consensus.block import Proposal, encode_proposal
from yumad.consensus.certificate import encode_certificate
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.evidence import encode_evidence, make_evidence
from yumad.consensus.signature import KeyPair
from yumad.consensus.statement import Kind, SignedStatement, Statement, VoteDomain, signing_digest
from yumad.consensus.transaction import TransactionDomain, encode_transaction, fork_digest, sign_transaction
from yumad.consensus.types import ZERO_HASH, Era, Hash32, Height, View
from yumad.protocols.exchange_frames import ExchangeFrame, Position, encode_exchange_frame
from yumad.protocols.framing import frame
from yumad.protocols.gossip_messages import TransactionBatch, encode_batch
from yumad.protocols.libp2p.host import Libp2pTransport
from yumad.protocols.messages import (
    BLOCKS,
    BLOCKS_BY_HASH,
    CERTIFICATES,
    CHAINSPEC,
    ERA_PROOFS,
    HEADERS,
    PEERS,
    STATUS,
    TRANSACTIONS,
    BlocksByHashRequest,
    BlocksRequest,
    CertificatesRequest,
    ChainSpecRequest,
    EraProofsRequest,
    HeadersRequest,
    PeersRequest,
    Status,
    TransactionsRequest,
)
from yumad.protocols.names import NetworkNames, Topics
from yumad.protocols.peer_ledger import Offence
from yumad.protocols.requests import RequestClient
from yumad.protocols.transport import GossipVerdict, PeerId, Stream, TransportError

REQUEST_NAMES: Final = (
    "status",
    "era_proofs",
    "headers",
    "blocks",
    "blocks_by_hash",
    "certificates",
    "transactions",
    "peers",
    "chainspec",
    "votes",
)

TOPIC_NAMES: Final = ("proposal", "transactions", "finality", "evidence")

DAMAGES: Final = ("noise", "flipped", "cut", "longer", "other spelling", "deep", "huge length", "oversized")

MESSAGES: Final = 12
"""Messages of one case: enough to be banned on the way, which is part of what is tested."""


class _NoPenalties:
    def offend(self, peer: PeerId, offence: Offence) -> None:
        """The attacker judges nobody."""

    def useful(self, peer: PeerId) -> None:
        """Nor praises."""


@asynccontextmanager
async def member(address: str) -> AsyncIterator[tuple[Libp2pTransport, PeerId]]:
    """A running transport with a fresh key, connected to the victim."""
    transport = Libp2pTransport(os.urandom(32), (), rng=random.Random())
    async with trio.open_nursery() as nursery:
        await nursery.start(transport.run)
        yield transport, await transport.dial(address)
        nursery.cancel_scope.cancel()


@dataclass(frozen=True, slots=True)
class Material:
    """Valid messages of one live chain, and those that only a thief of keys or a stranger would make."""

    genesis_hash: Hash32
    gossip: dict[str, bytes]
    """A well-formed message for each topic that the chain has outlived or that nobody of the set signed."""

    requests: dict[str, bytes]
    """A valid request for each protocol, and a frame of the vote exchange."""

    @property
    def names(self) -> NetworkNames:
        """Protocol ids of the chain."""
        return NetworkNames.of(self.genesis_hash)

    @property
    def digest(self) -> bytes:
        """Fork digest under rules version 1."""
        return fork_digest(self.genesis_hash, 1, ZERO_HASH)

    @property
    def topics(self) -> Topics:
        """Gossip topics of the chain."""
        return self.names.topics(self.digest)

    def protocol(self, name: str) -> str:
        """Protocol id of a request, or of the vote exchange."""
        return self.names.votes(self.digest) if name == "votes" else self.names.request(name)


def _transfer(domain: TransactionDomain, key: KeyPair, nonce: int) -> bytes:
    target = dev_keypair("bob").public_key
    return encode_transaction(
        sign_transaction(domain, key, nonce=nonce, valid_until=1000, call=0, args=[target, 1], tip=0)
    )


async def gather_material(address: str, genesis_hash: Hash32) -> Material:
    """Ask the victim for a few blocks like any newcomer, and make the messages from them."""
    async with member(address) as (transport, victim):
        client = RequestClient(transport, NetworkNames.of(genesis_hash), _NoPenalties())
        headers = (await client.request(victim, HEADERS, HeadersRequest(Height(1), 4)))[0]
        blocks = await client.request(victim, BLOCKS, BlocksRequest(Height(1), 4))
    block, certificate = blocks[-1], headers.certificates[-1]
    domain, stranger = VoteDomain(genesis_hash), KeyPair(os.urandom(32))

    def signed(kind: Kind, view: int, block_hash: Hash32, of: VoteDomain = domain) -> SignedStatement:
        statement = Statement(kind, Era(0), View(view), View(view - 1), block_hash)
        return SignedStatement(statement, 0, stranger.sign(signing_digest(of, statement)))

    own = TransactionDomain(genesis_hash, fork_digest(genesis_hash, 1, ZERO_HASH))
    right = _transfer(own, dev_keypair("alice"), 0)
    other_block = Hash32(os.urandom(32))
    evidence = make_evidence(signed(Kind.NOTARIZE, 3, block.hash), signed(Kind.NOTARIZE, 3, other_block))
    proposal = encode_proposal(Proposal(signed(Kind.PROPOSE, 3, block.hash), block))
    bad_certificate = replace(certificate, signatures=tuple(reversed(certificate.signatures)))
    status = Status(
        genesis_hash=genesis_hash,
        restart_hash=ZERO_HASH,
        fork_digest=fork_digest(genesis_hash, 1, ZERO_HASH),
        rules_version=1,
        era=Era(0),
        finalised_height=Height(1 << 40),
        finalised_hash=other_block,
        finalised_view=View(1),
        head_height=Height(1 << 40),
        head_hash=other_block,
        earliest_header=Height(1),
        earliest_body=Height(1),
        snapshots=(),
        time=0,  # type: ignore[arg-type]
        agent="\x1b[31m" * 8,
    )
    votes = ExchangeFrame(
        Position(Era(0), View(0), View(3)), (bad_certificate,), (signed(Kind.NOTARIZE, 3, block.hash),)
    )
    return Material(
        genesis_hash,
        {
            "proposal": proposal,
            "transactions": encode_batch(TransactionBatch((right,), ())),
            "finality": encode_certificate(certificate),
            "evidence": encode_evidence(evidence),
        },
        {
            "status": STATUS.encode_request(status),
            "era_proofs": ERA_PROOFS.encode_request(EraProofsRequest(Era(0), 1)),
            "headers": HEADERS.encode_request(HeadersRequest(Height(1), 4)),
            "blocks": BLOCKS.encode_request(BlocksRequest(Height(1), 4)),
            "blocks_by_hash": BLOCKS_BY_HASH.encode_request(BlocksByHashRequest((block.hash, other_block))),
            "certificates": CERTIFICATES.encode_request(CertificatesRequest(Era(0), ((View(1), Kind.FINALIZE),))),
            "transactions": TRANSACTIONS.encode_request(TransactionsRequest((other_block,))),
            "peers": PEERS.encode_request(PeersRequest()),
            "chainspec": CHAINSPEC.encode_request(ChainSpecRequest(genesis_hash, 0)),
            "votes": encode_exchange_frame(votes),
        },
    )


def damage(rng: random.Random, how: str, data: bytes) -> bytes:
    """`data` as no honest peer would send it."""
    if how == "noise":
        return rng.randbytes(rng.randrange(1, 700))
    if how == "flipped":
        body = bytearray(data)
        for _ in range(rng.randrange(1, 5)):
            body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
        return bytes(body)
    if how == "cut":
        return data[: rng.randrange(len(data))]
    if how == "longer":
        return data + rng.randbytes(rng.randrange(1, 50))
    if how == "other spelling":  # the outer array's length in a longer form: the same value, not canonical
        return bytes([0x98, data[0] & 0x1F]) + data[1:]
    if how == "deep":
        return b"\x81" * rng.randrange(100, 5000) + b"\x00"
    if how == "huge length":
        return rng.choice([b"\x9b", b"\x5b", b"\xbb"]) + b"\xff" * 8 + rng.randbytes(20)
    if how == "oversized":
        return data + bytes(700_000)
    raise ValueError(f"no damage {how!r}")


# --- attacks ----------------------------------------------------------------------------------------------------------


async def _say(address: str, topic: str, messages: Sequence[bytes], name: str) -> AttackReport:
    """Publish messages on a topic as a mesh member that relays nothing."""
    start, actions, dropped = trio.current_time(), 0, False
    try:
        async with member(address) as (transport, victim):
            transport.subscribe(topic, lambda sender, data: GossipVerdict.IGNORE)
            with trio.move_on_after(1.5):
                while victim not in transport.mesh_peers(topic):  # noqa: ASYNC110 - meshes announce no event
                    await trio.sleep(0.02)
            for message in messages:
                await transport.publish(topic, message)
                actions += 1
                await trio.sleep(0.005)
            await trio.sleep(0.1)
            dropped = victim not in transport.connected()
    except (TransportError, BaseExceptionGroup):
        dropped = True
    return AttackReport(name, actions, dropped, trio.current_time() - start)


async def _ask(
    address: str, protocol: str, messages: Sequence[bytes], name: str, *, raw: bool = False, wait: float = 0.1
) -> AttackReport:
    """Send each message on a stream of its own (`raw`: without a length prefix) and hear a little of the answer."""
    start, actions, dropped = trio.current_time(), 0, False
    try:
        async with member(address) as (transport, victim):
            for message in messages:
                stream: Stream | None = None
                try:
                    stream = await transport.open_stream(victim, protocol, timeout=2)
                    await stream.write_all(message if raw else frame(message))
                    with trio.move_on_after(wait):
                        await stream.read_some(1 << 16)
                except TransportError:
                    dropped = dropped or victim not in transport.connected()
                finally:
                    if stream is not None:
                        await stream.reset()
                actions += 1
                if dropped:
                    break
    except (TransportError, BaseExceptionGroup):
        dropped = True
    return AttackReport(name, actions, dropped, trio.current_time() - start)


def gossip_case(material: Material, topic: str, how: str, seed: str) -> Attack:
    """Damaged messages on one topic."""
    rng, data = random.Random(seed), material.gossip[topic]
    messages = [damage(rng, how, data) for _ in range(1 if how == "oversized" else MESSAGES)]
    return lambda address: _say(address, getattr(material.topics, topic), messages, f"gossip {topic}")


async def live_forgeries(
    material: Material, transport: Libp2pTransport, victim: PeerId
) -> dict[str, tuple[bytes, ...]]:
    """By topic and for the vote exchange: what would matter now if its signatures were right."""
    client = RequestClient(transport, material.names, _NoPenalties())
    status = STATUS.decode_reply(material.requests["status"])
    status = (await client.request(victim, STATUS, replace(status, finalised_height=Height(0))))[0]
    block = (await client.request(victim, BLOCKS, BlocksRequest(status.finalised_height, 1)))[0]
    page = (await client.request(victim, HEADERS, HeadersRequest(status.finalised_height, 1)))[0]
    domain, stranger = VoteDomain(material.genesis_hash), KeyPair(os.urandom(32))
    ahead = View(status.finalised_view + 1)

    def signed(kind: Kind, view: int, block_hash: Hash32, index: int = 0) -> SignedStatement:
        statement = Statement(kind, status.era, View(view), View(view - 1), block_hash)
        return SignedStatement(statement, index, stranger.sign(signing_digest(domain, statement)))

    certificates = [
        replace(found, statement=replace(found.statement, era=status.era, view=View(view), parent_view=ahead))
        for found in page.certificates
        for view in (ahead + 1, 1 << 40)
    ]
    other = Hash32(os.urandom(32))
    foreign_genesis = Hash32(os.urandom(32))
    foreign = TransactionDomain(foreign_genesis, fork_digest(foreign_genesis, 1, ZERO_HASH))
    right = _transfer(TransactionDomain(material.genesis_hash, material.digest), dev_keypair("alice"), 10_000)
    batches = (
        TransactionBatch((right[:-1] + bytes([right[-1] ^ 1]),), ()),
        TransactionBatch((_transfer(foreign, dev_keypair("alice"), 10_000),), ()),
        TransactionBatch((right[: len(right) // 2], right + b"\x00"), ()),
        TransactionBatch((), tuple(Hash32(os.urandom(32)) for _ in range(32))),
    )
    pairs = (
        (signed(Kind.NOTARIZE, ahead, block.hash), signed(Kind.NOTARIZE, ahead, other)),
        (signed(Kind.NOTARIZE, ahead, block.hash), signed(Kind.PROPOSE, ahead + 1, block.hash)),
        (signed(Kind.FINALIZE, ahead, block.hash, 99), signed(Kind.FINALIZE, ahead, other, 99)),
    )
    index = random.randrange(4)
    votes = [signed(kind, ahead, other, index) for kind in (Kind.NOTARIZE, Kind.FINALIZE)]
    votes += [signed(Kind.NOTARIZE, ahead, other, 99)]
    return {
        "proposal": tuple(
            encode_proposal(Proposal(signed(Kind.PROPOSE, ahead + step, block.hash, index), block))
            for step in range(3)
            for index in (0, 1, 2, 3, 99)
        ),
        "transactions": tuple(encode_batch(batch) for batch in batches),
        "finality": tuple(encode_certificate(certificate) for certificate in certificates),
        "evidence": tuple(encode_evidence(make_evidence(*pair)) for pair in pairs),
        "votes": tuple(
            encode_exchange_frame(ExchangeFrame(Position(status.era, View(0), ahead), (), (vote,))) for vote in votes
        ),
    }


def forged_case(material: Material, name: str) -> Attack:
    """Well-formed and timely messages on one topic, or votes, that nobody of the set signed."""

    async def attack(address: str) -> AttackReport:
        start = trio.current_time()
        async with member(address) as (transport, victim):
            forged = (await live_forgeries(material, transport, victim))[name]
        if name == "votes":
            report = await _ask(address, material.protocol(name), forged, "forged")
        else:
            report = await _say(address, getattr(material.topics, name), forged, "forged")
        return replace(report, seconds=trio.current_time() - start)

    return attack


def request_case(material: Material, name: str, how: str, seed: str) -> Attack:
    """Damaged requests (or exchange frames) on one protocol."""
    rng, data = random.Random(seed), material.requests[name]
    messages = [damage(rng, how, data) for _ in range(1 if how == "oversized" else MESSAGES // 2)]
    return lambda address: _ask(address, material.protocol(name), messages, f"request {name}")


def framing_case(material: Material, name: str, seed: str) -> Attack:
    """Lengths that are not true, and streams that end in the middle."""
    rng, data = random.Random(seed), material.requests[name]
    messages = [
        b"\xff\xff\xff\xff" + data,
        (1 << 24).to_bytes(4, "big") + rng.randbytes(1000),
        frame(data)[: rng.randrange(1, 4 + len(data))],
        rng.randbytes(rng.randrange(1, 300)),
        b"\x00\x00\x00\x00",
    ]
    return lambda address: _ask(address, material.protocol(name), messages, f"framing {name}", raw=True)


def flood_case(material: Material, name: str) -> Attack:
    """Valid requests far over the quota, and status claims of a chain that does not exist."""
    messages = [material.requests[name]] * 40
    return lambda address: _ask(address, material.protocol(name), messages, f"flood {name}", wait=0.02)


def other_network_case(material: Material, seed: str) -> Attack:
    """The same protocols and topics of another chain, and a status that names another genesis."""
    rng = random.Random(seed)
    foreign = Material(Hash32(rng.randbytes(32)), material.gossip, material.requests)
    name = rng.choice([other for other in REQUEST_NAMES if other != "chainspec"])

    async def attack(address: str) -> AttackReport:
        asked = await _ask(address, foreign.protocol(name), [material.requests[name]], "other network")
        status = bytearray(material.requests["status"])
        at = status.index(material.genesis_hash[:8])
        status[at] ^= 0xFF
        claimed = await _ask(address, material.protocol("status"), [bytes(status)], "other network")
        said = await _say(address, foreign.topics.proposal, [material.gossip["proposal"]], "other network")
        return AttackReport(
            "other network",
            asked.actions + claimed.actions + said.actions,
            asked.dropped or claimed.dropped or said.dropped,
            asked.seconds + claimed.seconds + said.seconds,
        )

    return attack


def payload_cases(material: Material, seed: int) -> list[tuple[str, Attack]]:
    """Damage of each kind on each topic and protocol, forgeries, framing, floods: (category, attack)."""
    cases: list[tuple[str, Attack]] = []
    for how in DAMAGES:
        for topic in TOPIC_NAMES:
            cases.append((f"gossip {topic}", gossip_case(material, topic, how, f"{seed}/{topic}/{how}")))
        for name in REQUEST_NAMES:
            cases.append((f"request {name}", request_case(material, name, how, f"{seed}/{name}/{how}")))
    cases += [("forged", forged_case(material, name)) for name in (*TOPIC_NAMES, "votes") for _ in range(2)]
    cases += [("framing", framing_case(material, name, f"{seed}/{name}")) for name in REQUEST_NAMES]
    cases += [("flood", flood_case(material, name)) for name in REQUEST_NAMES]
    cases += [("other network", other_network_case(material, f"{seed}/{number}")) for number in range(4)]
    return cases
