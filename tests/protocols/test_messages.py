"""Codecs of requests and replies: round trips, and strangers' bytes (CHAIN 2.1)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peer_doubles import GENESIS, MadeChain, key
from yumad.consensus.statement import Kind
from yumad.consensus.types import Era, Hash32, Height, MalformedError, Micros, View
from yumad.protocols import messages as m
from yumad.protocols.framing import ReplyCode, decode_chunk, encode_chunk, encode_failure
from yumad.protocols.limits import REQUESTS
from yumad.protocols.peer_records import make_record

CHAIN = MadeChain().grow(21)
PROTOCOLS: dict[str, m.RequestProtocol[Any, Any]] = {
    protocol.name: protocol
    for protocol in (
        m.STATUS, m.ERA_PROOFS, m.HEADERS, m.BLOCKS, m.BLOCKS_BY_HASH, m.CERTIFICATES, m.TRANSACTIONS, m.PEERS,
        m.CHAINSPEC,
    )
}  # fmt: skip

u32, u63, u64 = st.integers(0, 2**32 - 1), st.integers(0, 2**63 - 1), st.integers(0, 2**64 - 1)
hashes = st.binary(min_size=32, max_size=32).map(Hash32)
statuses = st.builds(
    m.Status,
    genesis_hash=hashes,
    restart_hash=hashes,
    fork_digest=st.binary(min_size=4, max_size=4),
    rules_version=u32,
    era=u32.map(Era),
    finalised_height=u63.map(Height),
    finalised_hash=hashes,
    finalised_view=u64.map(View),
    head_height=u63.map(Height),
    head_hash=hashes,
    earliest_header=u63.map(Height),
    earliest_body=u63.map(Height),
    snapshots=st.lists(u63.map(Height), max_size=4).map(tuple),
    time=u63.map(Micros),
    agent=st.text("abc/0.1 é", max_size=20),
)
hash_lists = st.lists(hashes, min_size=1, max_size=32, unique=True).map(tuple)
wanted = st.lists(st.tuples(u64.map(View), st.sampled_from(list(Kind)[1:])), min_size=1, max_size=64, unique=True)
REQUEST_CASES = st.one_of(
    st.tuples(st.just("status"), statuses),
    st.tuples(st.just("era_proofs"), st.builds(m.EraProofsRequest, u32.map(Era), st.integers(1, 32))),
    st.tuples(st.just("headers"), st.builds(m.HeadersRequest, u63.map(Height), st.integers(1, 512))),
    st.tuples(st.just("blocks"), st.builds(m.BlocksRequest, u63.map(Height), st.integers(1, 128))),
    st.tuples(st.just("blocks_by_hash"), hash_lists.map(m.BlocksByHashRequest)),
    st.tuples(st.just("certificates"), st.builds(m.CertificatesRequest, u32.map(Era), wanted.map(tuple))),
    st.tuples(st.just("transactions"), hash_lists.map(m.TransactionsRequest)),
    st.tuples(st.just("peers"), st.just(m.PeersRequest())),
    st.tuples(
        st.just("chainspec"), st.builds(m.ChainSpecRequest, st.binary(min_size=16, max_size=32), st.integers(0, 65535))
    ),
)
PROOF = CHAIN.boundary_proof(Era(0))
assert PROOF is not None
RECORD = make_record(GENESIS, key(1), ["/ip4/10.0.0.1/tcp/4000"], Micros(5))
REPLIES: dict[str, Any] = {
    "era_proofs": m.EraProof(*PROOF, (b"restart",)),
    "headers": m.HeadersReply(tuple(b.header for b in CHAIN.blocks[:3]), (CHAIN.certificates[2],)),
    "blocks": CHAIN.blocks[0],
    "blocks_by_hash": CHAIN.blocks[1],
    "certificates": CHAIN.certificates[1],
    "transactions": b"any bytes",
    "peers": m.PeersReply((RECORD,)),
    "chainspec": m.ChainSpecPage(1, 3, b"page"),
}


@given(REQUEST_CASES)
def test_request_survives_a_round_trip_within_its_size(case: tuple[str, Any]) -> None:
    name, request = case
    protocol = PROTOCOLS[name]
    data = protocol.encode_request(request)
    assert len(data) <= REQUESTS[name].request_bytes
    assert protocol.decode_request(data) == request


@pytest.mark.parametrize("name", sorted(REPLIES))
def test_reply_survives_a_round_trip(name: str) -> None:
    protocol, reply = PROTOCOLS[name], REPLIES[name]
    data = encode_chunk(ReplyCode.OK, protocol.encode_reply(reply))
    assert len(data) <= REQUESTS[name].chunk_bytes
    code, payload = decode_chunk(data, max_bytes=REQUESTS[name].chunk_bytes)
    assert code is ReplyCode.OK
    assert protocol.decode_reply(payload) == reply


@given(st.sampled_from(sorted(PROTOCOLS)), st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_malformed(name: str, data: bytes) -> None:
    for decode in (PROTOCOLS[name].decode_request, PROTOCOLS[name].decode_reply):
        try:
            decode(data)
        except MalformedError:
            continue


@given(st.data())
def test_mutated_messages_raise_nothing_but_malformed(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(REPLIES)))
    protocol = PROTOCOLS[name]
    raw = bytearray(protocol.encode_reply(REPLIES[name]))
    for _ in range(data.draw(st.integers(1, 5))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    for mutated in (bytes(raw), bytes(raw[:cut])):
        try:
            protocol.decode_reply(mutated)
        except MalformedError:
            continue


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("era_proofs", m.EraProofsRequest(Era(0), 33)),
        ("era_proofs", m.EraProofsRequest(Era(0), 0)),
        ("headers", m.HeadersRequest(Height(1), 513)),
        ("blocks", m.BlocksRequest(Height(1), 129)),
        ("blocks_by_hash", m.BlocksByHashRequest(())),
        ("blocks_by_hash", m.BlocksByHashRequest((GENESIS, GENESIS))),
        ("certificates", m.CertificatesRequest(Era(0), ((View(1), Kind.PROPOSE),))),
        ("transactions", m.TransactionsRequest(tuple(Hash32(bytes([n]) * 32) for n in range(129)))),
        ("chainspec", m.ChainSpecRequest(bytes(15), 0)),
    ],
)
def test_request_past_its_bounds_is_malformed(name: str, request_: Any) -> None:
    with pytest.raises(MalformedError):
        PROTOCOLS[name].decode_request(PROTOCOLS[name].encode_request(request_))


def test_unprintable_agent_is_replaced() -> None:
    status = m.decode_status(m.encode_status(_status(agent="a\x1b[31mb\n")))
    assert status.agent == "a?[31mb?"


def _status(**fields: Any) -> m.Status:
    from sync_world import status_of

    return status_of(CHAIN, **fields)


def test_failure_chunk_carries_a_short_reason() -> None:
    code, payload = decode_chunk(encode_failure(ReplyCode.THROTTLED, "x" * 1000), max_bytes=1000)
    assert code is ReplyCode.THROTTLED
    assert len(payload) == 256
    with pytest.raises(MalformedError, match="reply code 9 is unknown"):
        decode_chunk(b"\x82\x09\x40", max_bytes=10)
