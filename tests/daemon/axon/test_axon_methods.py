"""The control methods of calls and discovery, between two peers in virtual time (AXON R31, R33, R43)."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import pytest
import trio
from calling_peers import MINER, SUBNET, VALIDATOR, CallingPeers, account, calling_peers, new_chain
from trio.testing import MockClock
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.signature import KeyPair
from yumad.consensus.ss58 import encode_address
from yumad.consensus.types import AccountId, Micros, YumadError
from yumad.daemon.arguments import ArgumentError
from yumad.daemon.axon.axon_methods import LEARN_SECONDS, MAX_FORWARD_BODY, MAX_PINGED, PING_SECONDS
from yumad.daemon.clock import TrioClock
from yumad.daemon.control import MAX_LINE
from yumad.daemon.registry import NotFoundError
from yumad.protocols.axon.envelope import MAX_ENVELOPE, Envelope, Flag, sign_envelope
from yumad.protocols.axon.payload import decode_payload, encode_payload
from yumad.protocols.axon.reach_reports import make_report
from yumad.protocols.axon.receipts import verify_receipt
from yumad.protocols.axon.status import Status

START = 1_800_000_000
MINER_ADDRESS = encode_address(account(MINER))


@asynccontextmanager
async def world(*, announce: bool = True) -> AsyncIterator[CallingPeers]:
    clock = TrioClock(Micros(START * 1_000_000))
    async with calling_peers(new_chain(START), clock, announce=announce) as peers:
        await trio.sleep(1)
        yield peers
        assert peers.away.penalties.offences == [], "nobody did anything wrong"


async def ask(peers: CallingPeers, name: str, **params: object) -> Any:
    [method] = [method for method in peers.here.methods if method.name == name]
    return await method.call(params)


def envelope(
    peers: CallingPeers,
    method: str = "echo.say",
    body: bytes = b"",
    *,
    signer: KeyPair = VALIDATOR,
    version: int = 2,
    seconds: float = 5.0,
    **changes: Any,
) -> Envelope:
    created = peers.here.clock.now() * 1000
    fields: dict[str, Any] = {
        "genesis_hash": peers.chain.genesis_hash,
        "netuid": SUBNET,
        "method": method,
        "method_version": version,
        "caller": account(signer),
        "receiver": account(MINER),
        "request_id": random.Random(len(body)).randbytes(16),
        "created": created,
        "deadline": created + int(seconds * 1e9),
        "body_length": len(body),
        "body_hash": sha256(body).digest(),
        **changes,
    }
    return sign_envelope(Envelope(**fields), signer)


def body_of(value: Any) -> bytes:
    return b"".join(encode_payload(value))


async def forward(peers: CallingPeers, signed: Envelope, body: bytes) -> Any:
    return await ask(peers, "axon.forward", envelope=signed.encode().hex(), body=body.hex())


# --- forward ----------------------------------------------------------------------------------------------------------


async def test_r5_signed_call_is_carried_as_it_is_and_its_receipt_holds(autojump_clock: MockClock) -> None:
    body = body_of({"text": "hello"})
    async with world() as peers:
        signed = envelope(peers, body=body)
        done = await forward(peers, signed, body)
    assert (done["status"], done["name"], done["messages"]) == (0, "OK", [])
    assert decode_payload(bytes.fromhex(done["body"])) == {"text": "hello"}
    report = verify_receipt(bytes.fromhex(done["receipt"]), request_body=body, reply_body=bytes.fromhex(done["body"]))
    assert report.is_valid and report.receipt.envelope == signed
    latency = done["latency_ms"]
    assert latency["total"] == pytest.approx(sum(latency[part] for part in ("dial", "queue", "network", "handler")))


async def test_body_of_the_largest_size_fits_a_line_of_the_socket(autojump_clock: MockClock) -> None:
    body = body_of({"blob": random.Random(1).randbytes(MAX_FORWARD_BODY - 100)})
    async with world() as peers:
        done = await forward(peers, envelope(peers, body=body, seconds=60.0), body)
    assert done["name"] == "OK"
    assert 2 * (MAX_FORWARD_BODY + MAX_ENVELOPE) + 1000 < MAX_LINE


async def test_r9_messages_of_a_stream_are_collected_with_its_receipt(autojump_clock: MockClock) -> None:
    body = body_of({"to": 3})
    async with world() as peers:
        done = await forward(peers, envelope(peers, "count", body, version=1, flags=Flag.STREAM_OUT), body)
    assert [decode_payload(bytes.fromhex(message))["number"] for message in done["messages"]] == [0, 1, 2]
    report = verify_receipt(bytes.fromhex(done["receipt"]))
    assert done["name"] == "OK" and report.is_valid and report.receipt.trailer is not None


@pytest.mark.parametrize(
    ("who", "method", "status"),
    [
        ("alice", "echo.say", Status.NOT_REGISTERED),
        ("miner", "echo.say", Status.NO_PERMIT),
        ("authority-hot", "rich", Status.LOW_STAKE),
        ("authority-hot", "nothing", Status.UNKNOWN_METHOD),
        ("authority-hot", "fail", Status.HANDLER_ERROR),
        ("authority-hot", "sleep", Status.DEADLINE_EXCEEDED),
    ],
)
async def test_refusals_keep_their_status(autojump_clock: MockClock, who: str, method: str, status: Status) -> None:
    body = body_of({})
    version = 2 if method == "echo.say" else 1
    async with world() as peers:
        done = await forward(peers, envelope(peers, method, body, signer=dev_keypair(who), version=version), body)
    assert done["status"] == status or (status is Status.DEADLINE_EXCEEDED and done["status"] == Status.LOCAL_DEADLINE)
    assert done["retryable"] == Status(done["status"]).retryable


async def test_r2_signature_is_used_for_one_attempt_only(autojump_clock: MockClock) -> None:
    async with world() as peers:
        body = body_of(1)
        signed = envelope(peers, body=body)
        assert (await forward(peers, signed, body))["name"] == "OK"
        assert (await forward(peers, signed, body))["name"] == "REPLAY"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda e: e.encode()[:-1] + bytes([e.encode()[-1] ^ 1]), "did not sign"),
        (lambda e: e.encode()[:-1], "wrong length"),
        (lambda e: sign_envelope(_with(e, flags=Flag.STREAM_IN), VALIDATOR).encode(), "needs its key"),
        (lambda e: _with(e, flags=Flag.CHANNEL).encode(), "needs its key"),
        (lambda e: sign_envelope(_with(e, body_length=9), VALIDATOR).encode(), "body is not the one"),
        (lambda e: sign_envelope(_with(e, deadline=e.created - 10**10), VALIDATOR).encode(), "deadline is -"),
        (lambda e: sign_envelope(_with(e, deadline=1 << 63), VALIDATOR).encode(), "deadline is "),
    ],
)
async def test_envelope_that_others_must_refuse_is_not_sent(
    autojump_clock: MockClock, spoil: Callable[[Envelope], bytes], said: str
) -> None:
    async with world() as peers:
        data = spoil(envelope(peers, body=b"x"))
        with pytest.raises(YumadError, match=said):
            await ask(peers, "axon.forward", envelope=data.hex(), body=b"x".hex())


def _with(signed: Envelope, **changes: Any) -> Envelope:
    from dataclasses import replace

    return replace(signed, **changes)


async def test_r8_call_to_a_hotkey_without_record_or_connection_says_so(autojump_clock: MockClock) -> None:
    async with world() as peers:
        unknown = await forward(peers, envelope(peers, receiver=account(VALIDATOR)), b"")
        peers.here.transport.break_connection(peers.away.transport.local_peer)
        peers.here.transport._network.cut(lambda one, other: True)
        lost = await forward(peers, envelope(peers, seconds=3.0), b"")
    assert unknown["name"] == "NO_RECORD"
    assert lost["name"] in ("DIAL_FAILED", "LOCAL_DEADLINE")


async def test_hotkey_that_this_peer_serves_itself_is_called_within_it(autojump_clock: MockClock) -> None:
    body = body_of("myself")
    async with world(announce=False) as peers:
        await peers.here.serve()
        peers.here.announce()
        await trio.sleep(1)
        done = await forward(peers, envelope(peers, body=body), body)
        assert (done["name"], done["peer"]) == ("OK", peers.here.transport.local_peer)
        [row] = await ask(peers, "axon.ping", netuid=SUBNET, hotkeys=[MINER_ADDRESS])
        assert row["outcome"] == "here"


# --- what is known ----------------------------------------------------------------------------------------------------


async def test_r33_services_show_who_serves_what_where_and_for_how_long(autojump_clock: MockClock) -> None:
    async with world() as peers:
        [service] = (await ask(peers, "axon.services", netuid=SUBNET))["services"]
        away = peers.away
    [record] = service["records"]
    assert (service["hotkey"], service["uid"]) == (MINER_ADDRESS, 1)
    assert (record["peer"], record["here"], record["connected"]) == (away.transport.local_peer, False, True)
    assert 0 < record["expires_s"] <= 45 * 60
    assert record["methods"][0] == {"name": "echo.say", "version": 2, "stream_in": False, "stream_out": False}


async def test_find_by_uid_or_hotkey_waits_for_a_record_that_is_on_its_way(autojump_clock: MockClock) -> None:
    async with world(announce=False) as peers:
        started = trio.current_time()
        assert (await ask(peers, "axon.find", netuid=SUBNET, uid=1))["records"] == []
        assert trio.current_time() - started == pytest.approx(LEARN_SECONDS)
        peers.away.announce()
        found = await ask(peers, "axon.find", netuid=SUBNET, uid=1)
        assert len(found["records"]) == 1
        assert found == await ask(peers, "axon.find", netuid=SUBNET, hotkey=MINER_ADDRESS)
        started = trio.current_time()
        nobody = await ask(peers, "axon.find", netuid=SUBNET, hotkey="dev:alice")
        assert (nobody["uid"], nobody["records"], trio.current_time()) == (None, [], started)


async def test_what_is_not_there_is_named(autojump_clock: MockClock) -> None:
    async with world() as peers:
        with pytest.raises(NotFoundError, match="no subnet 9"):
            await ask(peers, "axon.services", netuid=9)
        with pytest.raises(NotFoundError, match="no uid 5"):
            await ask(peers, "axon.find", netuid=SUBNET, uid=5)
        for wrong in ({}, {"uid": 1, "hotkey": MINER_ADDRESS}):
            with pytest.raises(ArgumentError, match="a hotkey or a uid"):
                await ask(peers, "axon.find", netuid=SUBNET, **wrong)
        with pytest.raises(ArgumentError, match="at most"):
            await ask(peers, "axon.ping", netuid=SUBNET, hotkeys=[MINER_ADDRESS] * (MAX_PINGED + 1))
        with pytest.raises(ArgumentError, match="hotkeys"):
            await ask(peers, "axon.ping", netuid=SUBNET, hotkeys=["nobody"])


async def test_r31_reach_counts_probers_and_gives_their_median(autojump_clock: MockClock) -> None:
    async with world() as peers:
        assert await ask(peers, "axon.reach", netuid=SUBNET) == {}
        book, now = peers.here.discovery.reach, peers.here.clock.now()
        latencies: dict[AccountId, int | None] = {account(MINER): 12}
        report = make_report(peers.chain.genesis_hash, VALIDATOR, SUBNET, latencies, now)
        assert book.add(report, now) == "accept"
        reach = {"reached_by": 1, "probers": 1, "latency_ms": 12}
        assert await ask(peers, "axon.reach", netuid=SUBNET) == {MINER_ADDRESS: reach}
        assert (await ask(peers, "axon.find", netuid=SUBNET, uid=1))["reach"] == reach


async def test_status_tells_what_is_served_here(autojump_clock: MockClock) -> None:
    async with world() as peers:
        [method] = [method for method in peers.away.methods if method.name == "axon.status"]
        status: Any = await method.call({})
    [served] = status["served"]
    assert (served["hotkey"], served["netuid"], served["freshness"]) == (MINER_ADDRESS, SUBNET, "fresh")
    assert (status["records"], status["shown_addresses"]) == (1, [peers.away.address])


# --- ping -------------------------------------------------------------------------------------------------------------


async def test_r31_ping_measures_who_is_reached_and_names_who_is_not(autojump_clock: MockClock) -> None:
    async with world() as peers:
        names = [MINER_ADDRESS, encode_address(account(VALIDATOR))]
        reached, unknown = await ask(peers, "axon.ping", netuid=SUBNET, hotkeys=names)
        assert (reached["outcome"], reached["peer"]) == ("reached", peers.away.transport.local_peer)
        assert 0 < reached["ms"] < 100
        assert (unknown["outcome"], unknown["ms"]) == ("no record", None)


async def test_r31_ping_of_a_peer_that_is_cut_off_ends_in_time(autojump_clock: MockClock) -> None:
    async with world() as peers:
        peers.here.transport._network.cut(lambda one, other: True)
        started = trio.current_time()
        [row] = await ask(peers, "axon.ping", netuid=SUBNET, hotkeys=[MINER_ADDRESS])
        assert row["outcome"] == "not reached"
        assert trio.current_time() - started <= PING_SECONDS
