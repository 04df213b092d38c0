"""The plugin's side of the socket, against a real session of the peer (AXON R24, R26)."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.ss58 import encode_address
from yumad.consensus.types import AccountId
from yumad.daemon.plugins.backend import PluginIdentity
from yumad.daemon.plugins.session import PluginSession, Readiness
from yumad.plugin.host_client import HostError, HostFacts, SocketHostClient, connect_host
from yumad.protocols.axon.blob_transfer import BlobUnavailable
from yumad.protocols.axon.interfaces import CallReply, CallTerms, ServedMethod
from yumad.protocols.axon.plugin_link import LinkLimits
from yumad.protocols.axon.plugin_wire import FrameBuffer
from yumad.protocols.axon.status import Status

sys.path.append(str(Path(__file__).resolve().parent.parent / "daemon" / "plugins"))

from hosted import Incoming, MemoryPeer

KEYS = [dev_keypair(f"sn1/{uid}") for uid in range(5)]
TERMS = CallTerms(3.0, idempotent=True, max_reply=200_000)
ADDRESSES = [encode_address(key.public_key) for key in KEYS]


@asynccontextmanager
async def connected(
    *roles: str, limits: LinkLimits | None = None, store: Path = Path("store")
) -> AsyncIterator[tuple[SocketHostClient, PluginSession, MemoryPeer, list[Readiness]]]:
    """A client and the peer's session at the two ends of a stream in memory."""
    peer, said = MemoryPeer(), list[Readiness]()
    ours, theirs = memory_stream_pair()
    who = PluginIdentity("small", 1, roles or ("validator",), KEYS[0])
    session = PluginSession(
        theirs,
        who,
        peer,
        store,
        on_ready=said.append,
        on_failed=lambda *problem: None,
        limits=limits or LinkLimits(),
        buffer=FrameBuffer(),
        last_heard=0,
    )
    client = SocketHostClient(ours)
    client._facts = HostFacts("small", 1, who.roles, ADDRESSES[0], (), store, variant=None)
    async with trio.open_nursery() as nursery:
        await nursery.start(client.run)
        await nursery.start(session.run)
        yield client, session, peer, said
        nursery.cancel_scope.cancel()


async def test_call_gives_the_peers_result_on_the_plugins_clock() -> None:
    async with connected() as (client, _, peer, _):
        before = trio.current_time()
        result = await client.call(ADDRESSES[1], "ask", 2, b"body", TERMS)
        assert (result.status, result.body, result.hotkey) == (Status.OK, b"body", KEYS[1].public_key)
        assert result.latency.total == 0.25
        assert before - 1.5 < result.sent_at < trio.current_time()
        assert peer.asked[0][2] == (AccountId(KEYS[1].public_key), "ask", 2, b"body", TERMS)


async def test_r26_call_many_gives_one_result_each_in_order() -> None:
    async with connected() as (client, _, peer, _):
        shared = b"s" * 100_000
        results = await client.call_many(dict.fromkeys(ADDRESSES, shared), "ask", 1, TERMS)
        assert [encode_address(result.hotkey) for result in results] == ADDRESSES
        assert {result.body for result in results} == {shared}
        distinct = {address: address.encode() * 5000 for address in ADDRESSES}
        results = await client.call_many(distinct, "ask", 1, TERMS)
        assert [result.body for result in results] == list(distinct.values())
        assert await client.call_many({}, "ask", 1, TERMS) == []
        assert [terms for _, _, (_, terms) in peer.asked] == [TERMS] * 2


async def test_stream_carries_messages_both_ways_and_a_result() -> None:
    async with connected() as (client, _, peer, _), client.stream(ADDRESSES[1], "chat", 1, b"", TERMS) as stream:
        sent = [bytes([number]) * 20_000 for number in range(60)]

        async def feed() -> None:
            for message in sent:
                await stream.send(message)
            await stream.end()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed)
            received = [message async for message in stream.messages()]
        assert received == sent
        assert (await stream.result()).body == b"60"
        assert peer.asked[0][2][-1] == TERMS


async def test_stream_that_is_left_early_is_taken_back() -> None:
    async with connected() as (client, session, _, _):
        async with client.stream(ADDRESSES[1], "chat", 1, b"", TERMS) as stream:
            await stream.send(b"one")
            assert await anext(aiter(stream.messages())) == b"one"
            assert session._link.served_requests == 1
        with trio.fail_after(5):
            while session._link.served_requests:  # noqa: ASYNC110 -- a count, with no event
                await trio.sleep(0.001)


async def test_metagraph_query_and_scores_reach_the_peer() -> None:
    async with connected() as (client, _, peer, _):
        assert (await client.metagraph())["block"] == 5
        assert await client.query("balance", ["x", 1]) == {"read": "balance", "n": 2}
        await client.scores_update({ADDRESSES[1]: 0.5}, ("ema", {"alpha": 0.2}), 7)
        rows = [{"hotkey": ADDRESSES[2], "value": 1.0, "state": [1, 2.5]}]
        await client.scores_store(rows, ("Best", {"of": 3}), 8)
        one, two = AccountId(KEYS[1].public_key), AccountId(KEYS[2].public_key)
        assert peer.asked[-2][2] == ({one: 0.5}, "ema", {"alpha": 0.2}, 7)
        stored = [{"hotkey": two, "value": 1.0, "state": [1, 2.5]}]
        assert peer.asked[-1][2] == (stored, "Best", {"of": 3}, 8)
        peer.rows = [{"hotkey": bytes(one), "value": 0.5, "state": None, "rounds": 3}]
        assert await client.scores_load() == [{"hotkey": ADDRESSES[1], "value": 0.5, "state": None, "rounds": 3}]
        assert peer.asked[-1][::2] == ("scores_load", None)
        await client.scores_load(("Best", {"of": 3}))
        assert peer.asked[-1][::2] == ("scores_load", ("Best", {"of": 3}))


async def test_r11_content_goes_by_path_and_never_through_the_socket(tmp_path: Path) -> None:
    store, outside = tmp_path / "store", tmp_path / "model.bin"
    store.mkdir()
    outside.write_bytes(b"m" * 1_000_000)
    (store / "own.bin").write_bytes(b"own")
    async with connected(store=store) as (client, session, peer, _):
        session._link._buffer.most = 2000
        for content in (outside, store / "own.bin", b"b" * 3_000_000):
            blob_hash = await client.blob_put(content, None)
            expected = content if isinstance(content, bytes) else content.read_bytes()
            assert peer.blobs[blob_hash] == expected
            assert peer.asked[-1][2] is None
            assert [path.name for path in store.iterdir()] == ["own.bin"]
        await client.blob_put(b"x", ADDRESSES[1:3])
        assert peer.asked[-1][2] == [KEYS[1].public_key, KEYS[2].public_key]
        path = await client.blob_get(blob_hash, ADDRESSES[1], 1 << 30)
        assert path == store / "blobs" / blob_hash.hex()
        assert path.read_bytes() == b"b" * 3_000_000
        assert peer.asked[-1][2] == (blob_hash, KEYS[1].public_key, 1 << 30)


async def test_r11_blob_that_cannot_be_had_is_an_error_of_its_own(tmp_path: Path) -> None:
    async with connected(store=tmp_path) as (client, _, _, _):
        with pytest.raises(BlobUnavailable, match="no source gave its list"):
            await client.blob_get(bytes(32), ADDRESSES[1], 100)
        with pytest.raises(HostError, match=r"nothing\.bin: No such file"):
            await client.blob_put(tmp_path / "nothing.bin", None)


@pytest.mark.parametrize(
    ("request_name", "body", "reason"),
    [
        ("blob.put", {"path": "/etc/passwd", "to": None}, "is not in the plugin's own folder"),
        ("blob.put", {"path": "../secret", "to": None}, "is not in the plugin's own folder"),
        ("blob.put", {"path": "link", "to": None}, "is not in the plugin's own folder"),
        ("blob.put", {"path": "folder/up/secret", "to": None}, "is not in the plugin's own folder"),
        ("blob.put", {"path": "a\0b", "to": None}, "is not in the plugin's own folder"),
        ("blob.put", {"path": "loop", "to": None}, "cannot be read"),
        ("blob.put", {"path": "missing", "to": None}, "cannot be read: No such file"),
        ("blob.put", {"path": "folder", "to": None}, "is no plain file"),
        ("blob.put", {"path": "", "to": None}, "is no plain file"),
        ("blob.put", {"path": "pipe", "to": None}, "is no plain file"),
        ("blob.put", {"path": "x" * 5000, "to": None}, "path is not a text of at most"),
        ("blob.put", {"path": "own", "to": [b"short"]}, "public keys of 32 bytes"),
        ("blob.put", {"path": "own", "to": 3}, "an array of at most"),
        ("blob.put", {"path": "own", "to": None, "from": bytes(32)}, "there is no field 'from'"),
        ("blob.get", {"hash": bytes(31), "hotkey": bytes(32), "max_size": 1}, "hash is not"),
        ("blob.get", {"hash": bytes(32), "hotkey": bytes(32), "max_size": 1 << 40}, "max_size is not"),
        ("blob.get", {"hash": bytes(32), "hotkey": "x", "max_size": 1}, "hotkey is not"),
    ],
)
async def test_r11_hostile_request_for_content_is_refused_with_words(
    tmp_path: Path, request_name: str, body: dict[str, object], reason: str
) -> None:
    store = tmp_path / "store"
    (store / "folder").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"secret")
    (store / "own").write_bytes(b"own")
    (store / "link").symlink_to(tmp_path / "secret")
    (store / "folder" / "up").symlink_to(tmp_path)
    (store / "loop").symlink_to(store / "loop")
    os.mkfifo(store / "pipe")
    async with connected(store=store) as (client, _, peer, _):
        with pytest.raises(HostError, match=reason):
            await client._ask(request_name, body)
        assert peer.asked == []


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -0.1, 1.1])
async def test_score_outside_its_range_is_refused(score: float) -> None:
    async with connected() as (client, _, peer, _):
        with pytest.raises(HostError, match="score is not a number from 0 to 1"):
            await client.scores_update({ADDRESSES[1]: score}, ("ema", {}), 1)
        assert peer.asked == []


async def test_request_above_the_limits_is_an_error_with_words() -> None:
    async with connected() as (client, _, peer, _):
        with pytest.raises(HostError, match="body is not a byte string of at most"):
            await client.call(ADDRESSES[1], "ask", 1, bytes((16 << 20) + 1), TERMS)
        with pytest.raises(HostError, match="timeout"):
            await client.call_many(dict.fromkeys(ADDRESSES, b""), "ask", 1, CallTerms(1e9))
        for most in (0, (16 << 20) + 1):
            with pytest.raises(HostError, match="max_reply is not a whole number from 1 to 16777216"):
                await client.call(ADDRESSES[1], "ask", 1, b"", CallTerms(3.0, max_reply=most))
        assert peer.asked == []
        assert (await client.call(ADDRESSES[1], "ask", 1, b"", TERMS)).ok


async def test_more_requests_than_are_allowed_are_refused_as_busy() -> None:
    async with connected(limits=LinkLimits(open_requests=2)) as (client, _, peer, _):

        async def hang(*_: object) -> None:
            await trio.sleep_forever()

        peer.metagraph = hang  # type: ignore[method-assign, assignment]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.metagraph)
            nursery.start_soon(client.metagraph)
            await wait_all_tasks_blocked()
            with pytest.raises(HostError, match=r"requests are open.*busy"):
                await client.query("balance", [])
            nursery.cancel_scope.cancel()


async def test_two_roles_are_ready_when_both_are() -> None:
    async with connected("miner", "validator") as (client, _, _, said):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.ready, "echo", 1, "miner", [ServedMethod("ask")])
            await wait_all_tasks_blocked()
            assert said == []
            nursery.start_soon(lambda: client.ready("echo", 1, "validator", [], validator="Echo"))
        assert said[0].roles == ("miner", "validator")
        assert [method.name for method in said[0].methods] == ["ask"]
        assert said[0].validator == "Echo"


async def test_handler_sees_who_calls_and_its_error_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    async with connected("miner") as (client, session, _, _):
        seen = []

        async def handler(call: object) -> CallReply:
            seen.append((call.caller, call.standing.uid, call.netuid, bytes(call.body)))  # type: ignore[attr-defined]
            raise ValueError("first line\nsecond line")

        client.set_handler(handler)
        call = Incoming(ServedMethod("ask"), b"body", deadline=trio.current_time() + 5)
        reply = await session.handle(call)
        assert (reply.status, reply.text) == (Status.HANDLER_ERROR, "ValueError: first line")
        assert seen == [(encode_address(dev_keypair("caller").public_key), 7, 1, b"body")]
        assert "second line" in capsys.readouterr().err


async def test_peer_that_hangs_up_fails_what_waits() -> None:
    async with connected() as (client, session, _, _):
        session.drop("the peer ends")
        with pytest.raises(HostError, match="the connection has ended"):
            await client.metagraph()


async def test_peer_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="cannot be reached"):
        async with connect_host(str(tmp_path / "none"), bytes(32)):
            pass
