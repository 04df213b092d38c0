"""Large content between the plugins of several peers: who may fetch, quotas, fetches that join, sources that lie (AXON
R11)."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.signature import KeyPair
from yumad.consensus.types import AccountId, Hash32
from yumad.daemon.axon import blobs
from yumad.daemon.axon.blobs import BlobQuotaError, PeerBlobs
from yumad.daemon.plugins.backend import PluginIdentity
from yumad.daemon.plugins.store_files import place_inside
from yumad.protocols.axon.blob_store_interface import CHUNK
from yumad.protocols.axon.blob_transfer import BlobUnavailable
from yumad.protocols.axon.interfaces import CallReply, Endpoint
from yumad.protocols.axon.own_calls import WithOwnCalls
from yumad.protocols.memory_transport import LinkQuality, MemoryNetwork, MemoryTransport
from yumad.protocols.peer_ledger import Offence
from yumad.protocols.transport import PeerId, Stream

PROTOCOL = "/yumad/00000000/blob/1"
GENESIS = Hash32(bytes(32))


def account(key: KeyPair) -> AccountId:
    return AccountId(key.public_key)


@dataclass
class World:
    """Peers with one plugin each; all know where each is, and who is registered in which subnet."""

    folder: Path
    network: MemoryNetwork
    nursery: trio.Nursery
    members: set[tuple[int, AccountId]] = field(default_factory=set)
    places: dict[AccountId, list[Endpoint]] = field(default_factory=dict)
    offences: list[tuple[PeerId, Offence]] = field(default_factory=list)
    transports: dict[str, MemoryTransport] = field(default_factory=dict)

    async def peer(self, name: str, *, netuid: int = 1, member: bool = True, cap: int = 1 << 30) -> Member:
        transport = self.network.transport(name)
        await self.nursery.start(transport.run)
        self.transports[name] = transport
        own = WithOwnCalls(transport)
        await self.nursery.start(own.run)
        kept = PeerBlobs(
            self.folder / name / "kept", own, PROTOCOL, GENESIS, self, self, self, now_ns=lambda: 10**18, cap=cap
        )
        member_ = Member(self, kept, PluginIdentity(name, netuid, ("miner",), dev_keypair(name)))
        member_.store.mkdir(parents=True)
        if member:
            self.members.add((netuid, member_.hotkey))
        self.places[member_.hotkey] = [Endpoint(PeerId(name), (f"/memory/p2p/{name}",))]
        return member_

    def endpoints(self, netuid: int, hotkey: AccountId) -> Sequence[Endpoint]:
        return self.places.get(hotkey, ())

    def registered(self, netuid: int, hotkey: AccountId) -> bool:
        return (netuid, hotkey) in self.members

    def permitted(self, netuid: int, hotkey: AccountId) -> bool:
        return False

    def permit_holders(self, netuid: int) -> Sequence[AccountId]:
        return ()

    def offend(self, peer: PeerId, offence: Offence) -> None:
        self.offences.append((peer, offence))

    def useful(self, peer: PeerId) -> None: ...


@dataclass
class Member:
    """One peer's blobs, and the plugin that uses them."""

    world: World
    blobs: PeerBlobs
    who: PluginIdentity

    @property
    def hotkey(self) -> AccountId:
        return self.who.hotkey

    @property
    def store(self) -> Path:
        return self.world.folder / self.who.name / "store"

    async def put(self, content: bytes, to: Sequence[AccountId] | None = None) -> bytes:
        file = self.store / "file"
        file.write_bytes(content)
        return await self.blobs.put(self.who, open(file, "rb"), to)  # noqa: ASYNC230

    async def fetch(self, blob_hash: bytes, source: Member, max_size: int = 1 << 30) -> bytes:
        return (await self.fetch_file(blob_hash, source, max_size)).read_bytes()

    async def fetch_file(self, blob_hash: bytes, source: Member, max_size: int = 1 << 30) -> Path:
        return await self.blobs.fetch(
            self.who, blob_hash, source.hotkey, max_size, lambda path: place_inside(self.store, path, blob_hash.hex())
        )


@asynccontextmanager
async def world_in(folder: Path, latency: float = 0.0) -> AsyncIterator[World]:
    async with trio.open_nursery() as nursery:
        yield World(folder, MemoryNetwork(random.Random(1), LinkQuality(latency=latency)), nursery)
        nursery.cancel_scope.cancel()


async def test_r11_what_one_plugin_puts_another_fetches_by_its_hash(tmp_path: Path) -> None:
    async with world_in(tmp_path) as world:
        miner, validator = await world.peer("miner"), await world.peer("validator")
        content = os.urandom(3 * CHUNK + 5)
        blob_hash = await miner.put(content)
        path = await validator.fetch_file(blob_hash, miner)
        assert path == validator.store / "blobs" / blob_hash.hex()
        assert path.read_bytes() == content
        assert path.stat().st_mode & 0o222 == 0
        miner.blobs.withdraw_all("miner")
        assert await validator.fetch(blob_hash, miner) == content, "what is here is not fetched again"


async def test_r11_only_members_of_the_subnet_may_fetch_unless_others_are_named(tmp_path: Path) -> None:
    async with world_in(tmp_path) as world:
        miner, member = await world.peer("miner"), await world.peer("member")
        stranger = await world.peer("stranger", member=False)
        elsewhere = await world.peer("elsewhere", netuid=2)
        for_all = await miner.put(b"for all")
        assert await member.fetch(for_all, miner) == b"for all"
        for other in (stranger, elsewhere):
            with pytest.raises(BlobUnavailable, match="not_available"):
                await other.fetch(for_all, miner)
        world.members.add((1, stranger.hotkey))
        assert await stranger.fetch(for_all, miner) == b"for all", "membership is looked at when somebody asks"
        for_one = await miner.put(b"for one", [elsewhere.hotkey])
        assert await elsewhere.fetch(for_one, miner) == b"for one"
        with pytest.raises(BlobUnavailable, match="not_available"):
            await member.fetch(for_one, miner)
        for_nobody = await miner.put(b"for nobody", [])
        with pytest.raises(BlobUnavailable, match="not_available"):
            await member.fetch(for_nobody, miner)


async def test_r11_offers_of_two_plugins_for_one_blob_add_up(tmp_path: Path) -> None:
    async with world_in(tmp_path) as world:
        miner = await world.peer("miner")
        first, second = await world.peer("first"), await world.peer("second")
        blob_hash = await miner.put(b"content", [first.hotkey])
        other = PluginIdentity("other", 1, ("miner",), dev_keypair("other"))
        await miner.blobs.put(other, open(miner.store / "file", "rb"), [second.hotkey])  # noqa: ASYNC230, SIM115
        assert await first.fetch(blob_hash, miner) == b"content"
        miner.blobs.withdraw_all("other")
        with pytest.raises(BlobUnavailable, match="not_available"):
            await second.fetch(blob_hash, miner)


async def test_r11_offer_ends_after_an_hour_and_begins_anew_when_put_again(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    async with world_in(tmp_path) as world:
        miner = await world.peer("miner")
        others = [await world.peer(f"v{n}") for n in range(3)]
        blob_hash = await miner.put(b"content")
        mock_clock.jump(3599)
        assert await others[0].fetch(blob_hash, miner) == b"content"
        mock_clock.jump(1)
        with pytest.raises(BlobUnavailable, match="not_available"):
            await others[1].fetch(blob_hash, miner)
        await miner.put(b"content")
        assert await others[2].fetch(blob_hash, miner) == b"content"


async def test_r11_plugin_that_offers_too_much_is_told_so(
    tmp_path: Path, mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blobs, "MAX_OFFERED", 1000)
    monkeypatch.setattr(blobs, "MAX_OFFERS", 3)
    async with world_in(tmp_path) as world:
        miner = await world.peer("miner")
        with pytest.raises(BlobQuotaError, match="a file of 1001 bytes"):
            await miner.put(bytes(1001))
        for content in (bytes(600), b"1" * 300):
            await miner.put(content)
        with pytest.raises(BlobQuotaError, match="2 blobs of 900 bytes, the first for 3600 s more"):
            await miner.put(b"2" * 200)
        await miner.put(bytes(600))
        await miner.put(b"2")
        with pytest.raises(BlobQuotaError, match="3 blobs"):
            await miner.put(b"3")
        mock_clock.jump(3600)
        await miner.put(b"3" * 1000)


async def test_r11_second_fetch_of_one_blob_joins_the_first(tmp_path: Path) -> None:
    async with world_in(tmp_path, latency=0.002) as world:
        miner, validator = await world.peer("miner"), await world.peer("validator")
        content = os.urandom(4 * CHUNK)
        blob_hash = await miner.put(content)
        got: list[bytes] = []

        async def fetch() -> None:
            got.append(await validator.fetch(blob_hash, miner))

        async with trio.open_nursery() as nursery:
            for _ in range(3 * blobs.PLUGIN_FETCHES):
                nursery.start_soon(fetch)
        assert got == [content] * 3 * blobs.PLUGIN_FETCHES
        assert miner.blobs.server.counters["ok"] == 5, "the list and each chunk, once"


async def test_r11_joined_fetch_goes_on_when_the_first_is_given_up(tmp_path: Path) -> None:
    async with world_in(tmp_path) as world:
        miner, validator, silent = [await world.peer(name) for name in ("miner", "validator", "silent")]
        blob_hash = await miner.put(b"content")
        asked, got, first = trio.Event(), list[bytes](), trio.CancelScope()

        async def say_nothing(stream: Stream) -> None:
            asked.set()
            await trio.sleep_forever()

        silent.blobs._transport.set_stream_handler(PROTOCOL, say_nothing)

        async def fetch(source: Member, scope: trio.CancelScope) -> None:
            with scope:
                got.append(await validator.fetch(blob_hash, source))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fetch, silent, first)
            await asked.wait()
            nursery.start_soon(fetch, miner, trio.CancelScope())
            await trio.testing.wait_all_tasks_blocked()
            assert miner.blobs.server.counters.total() == 0, "it waits for the first"
            first.cancel()
        assert got == [b"content"]


async def test_r11_source_that_lies_is_booked_and_another_replica_serves(tmp_path: Path) -> None:
    async with world_in(tmp_path) as world:
        liar, honest, validator = [await world.peer(name) for name in ("liar", "honest", "validator")]
        content = os.urandom(2 * CHUNK)
        blob_hash = await honest.put(content)
        await liar.put(content)
        kept = liar.blobs.folder.path(blob_hash)
        assert kept is not None
        kept.chmod(0o600)
        kept.write_bytes(bytes(2 * CHUNK))
        world.places[honest.hotkey] = [*world.places[liar.hotkey], *world.places[honest.hotkey]]
        assert await validator.fetch(blob_hash, honest) == content
        assert world.offences == [(PeerId("liar"), Offence.BAD_REPLY)]


async def test_r11_hotkey_without_a_place_and_a_blob_above_the_limit_are_told(tmp_path: Path) -> None:
    async with world_in(tmp_path) as world:
        miner, validator = await world.peer("miner"), await world.peer("validator")
        blob_hash = await miner.put(b"content")
        for _ in range(2):
            with pytest.raises(BlobUnavailable, match="7 bytes, at most 6"):
                await validator.fetch(blob_hash, miner, 6)
        assert await validator.fetch(blob_hash, miner, 7) == b"content"
        with pytest.raises(BlobUnavailable, match="7 bytes, at most 6"):
            await validator.fetch(blob_hash, miner, 6)
        world.places.clear()
        with pytest.raises(BlobUnavailable, match="nobody has told where"):
            await validator.fetch(bytes(32), miner)


async def test_r11_hotkey_without_a_record_is_found_where_its_call_came_from(tmp_path: Path) -> None:
    async with world_in(tmp_path) as world:
        miner, validator, other = [await world.peer(name) for name in ("miner", "validator", "other")]
        blob_hash = await validator.put(b"content")
        del world.places[validator.hotkey]
        with pytest.raises(BlobUnavailable, match="nobody has told where"):
            await miner.fetch(blob_hash, validator)
        seen = []

        async def handler(call: Any) -> CallReply:
            seen.append(await miner.fetch(blob_hash, validator))
            return CallReply(body=b"done")

        await world.transports["miner"].dial("/memory/p2p/validator")
        for source in (other, validator):
            miner.blobs._heard[validator.hotkey] = PeerId(source.who.name)
        call = SimpleNamespace(caller=validator.hotkey, peer=PeerId("validator"))
        assert (await miner.blobs.noting(handler)(call)).body == b"done"  # type: ignore[arg-type]
        assert seen == [b"content"]


async def test_r11_peer_that_serves_both_roles_finds_its_own_blob(tmp_path: Path) -> None:
    async with world_in(tmp_path) as world:
        both = await world.peer("both")
        blob_hash = await both.put(b"content")
        assert await both.fetch(blob_hash, both) == b"content"
        with pytest.raises(BlobUnavailable, match="not_available"):
            await both.fetch(bytes(32), both)


async def test_r11_64_mib_between_plugins_within_bounds(tmp_path: Path, record_property: Any) -> None:
    async with world_in(tmp_path) as world:
        miner, validator = await world.peer("miner"), await world.peer("validator")
        file = miner.store / "large"
        with open(file, "wb") as written:  # noqa: ASYNC230
            for number in range(64):
                written.write(random.Random(number).randbytes(CHUNK))
        blob_hash = await miner.blobs.put(miner.who, open(file, "rb"), None)  # noqa: ASYNC230, SIM115
        began = trio.current_time()
        path = await validator.fetch_file(blob_hash, miner)
        record_property("seconds", trio.current_time() - began)
        assert path.read_bytes() == file.read_bytes()
