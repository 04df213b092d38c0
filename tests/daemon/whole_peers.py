"""Whole peers in one process and in virtual time: real stores, rules, consensus, sync and mempool over an in-memory
network (CHAIN 6.2 layer 3, DESIGN decision 15).

`run_virtually` makes trio's scheduling a function of the seed, so that a run can be repeated exactly. It uses two
private names of trio; `test_node_trace.py` fails when they stop working.
"""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import base58
import trio
import trio._core._run as trio_run
from trio.testing import MockClock
from yumad.consensus.chain_spec import AuthoritySpec, ChainSpec, encode_chain_spec, prove_possession
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.rules.v1.calls.table import call_named
from yumad.consensus.signature import KeyPair
from yumad.consensus.transaction import encode_transaction, sign_transaction, signing_digest
from yumad.consensus.types import AccountId, AuthorityKey, Hash32, Height, Micros
from yumad.daemon.chain_home import create_chain, genesis_hash_of_folder, open_chain, the_chain_of
from yumad.daemon.clock import TrioClock
from yumad.daemon.execution import InlineRunner
from yumad.daemon.heartbeat import Heartbeat
from yumad.daemon.node import Peer, PeerSettings, Surroundings
from yumad.daemon.own_transactions import OwnTransactions
from yumad.daemon.peer_answers import PeerAnswers
from yumad.daemon.swarm import AUTHORITY_STAKE
from yumad.daemon.swarm_spec import swarm_spec
from yumad.protocols.memory_transport import LinkQuality, MemoryNetwork
from yumad.protocols.peer_records import peer_id_of
from yumad.storage.authority_key import list_authorities, make_authority, open_authority
from yumad.storage.home import Home
from yumad.storage.index import IndexStore
from yumad.storage.peers import PeerStore

T = TypeVar("T")

EPOCH = Micros(1_000_000_000_000_000)
"""Wall time at trio time 0."""

SLOT = Micros(1_000_000)
ERA_BLOCKS = 6


def run_virtually(main: Callable[[], Awaitable[T]], *, seed: int = 1) -> T:
    """Run `main` in virtual time; the seed decides which of several runnable tasks goes first."""
    was_deterministic = trio_run._ALLOW_DETERMINISTIC_SCHEDULING
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    trio_run._r.seed(seed)
    try:
        return trio.run(main, clock=MockClock(autojump_threshold=0))
    finally:
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING = was_deterministic  # type: ignore[misc]


def seed_of(*words: object) -> bytes:
    """32 bytes for a name."""
    return hashlib.blake2b("/".join(map(str, words)).encode(), digest_size=32).digest()


@dataclass
class Member:
    """One home and, while it runs, the peer in it."""

    name: str
    home: Home
    address: str
    account: str | None = None
    """Development account of an authority."""
    skew: int = 0
    prepare: Callable[[Peer], None] = lambda peer: None
    """Called with each fresh peer before it runs: where a test breaks something."""
    peer: Peer | None = None
    scope: trio.CancelScope | None = None
    ended: trio.Event = field(default_factory=trio.Event)
    error: BaseException | None = None
    """What ended it, unless it was stopped."""
    starts: int = 0
    finals: list[tuple[int, Hash32]] = field(default_factory=list)
    """(height, hash) in the order in which this member's watchers heard of them, over all its lives."""

    @property
    def running(self) -> Peer:
        """The peer; the member must run."""
        assert self.peer is not None, f"{self.name} does not run"
        return self.peer

    @property
    def height(self) -> int:
        """F."""
        return self.running.opened.store.finalised().height

    @property
    def peer_id(self) -> str:
        """Id in the network."""
        return self.address.rpartition("/p2p/")[2]

    def hash_at(self, height: int) -> Hash32 | None:
        """Hash of a final block."""
        return self.running.opened.store.block_hash(Height(height))


class World:
    """Homes, the network between them, and what happens to them."""

    def __init__(
        self,
        folder: Path,
        authorities: int = 4,
        followers: int = 0,
        *,
        seed: int = 1,
        quality: LinkQuality | None = None,
        slot: Micros = SLOT,
        era_blocks: int = ERA_BLOCKS,
    ) -> None:
        self.folder = folder
        self.rng = random.Random(seed)
        self.network = MemoryNetwork(
            random.Random(self.rng.random()), quality or LinkQuality(latency=0.01, jitter=0.01)
        )
        self.slot = slot / 1_000_000
        self._count = 0
        self.authorities = [self.add_member(f"authority-{n}", account=f"authority/{n}") for n in range(authorities)]
        base = replace(swarm_spec("dev", "virtual", seed_of("salt", seed)[:16], slot), era_blocks=era_blocks)
        self.spec = self._with_authorities(base)
        self.spec_bytes = encode_chain_spec(self.spec)
        self.followers = [self.add_member(f"follower-{n}") for n in range(followers)]
        for member in self.authorities:
            create_chain(member.home, self.spec_bytes)
        self.nursery: trio.Nursery

    @property
    def members(self) -> list[Member]:
        """Authorities, then followers."""
        return [*self.authorities, *self.followers]

    def add_member(self, name: str, *, account: str | None = None, copy_of: Member | None = None) -> Member:
        """A home; with an account also an authority key, with `copy_of` that member's authority folder."""
        home = Home(self.folder / name)
        home.prepare()
        self._count += 1
        key = KeyPair(home.peer_seed(lambda: seed_of("peer", name)))
        address = f"/ip4/10.0.0.{self._count}/tcp/30333/p2p/{peer_id_of(key.public_key)}"
        if account is not None:
            make_authority(home.authority_folder, seed_of("key", name))
        if copy_of is not None:
            shutil.copytree(copy_of.home.authority_folder, home.authority_folder, dirs_exist_ok=True)
        return Member(name, home, address, account)

    def _with_authorities(self, base: ChainSpec) -> ChainSpec:
        records, stakes = [], list(base.stakes)
        for member in self.authorities:
            assert member.account is not None
            key = KeyPair(seed_of("key", member.name))
            hotkey = AccountId(dev_keypair(f"{member.account}/hotkey").public_key)
            coldkey = AccountId(dev_keypair(f"{member.account}/coldkey").public_key)
            proof = prove_possession(key, base.name, base.salt, hotkey)
            peer_id = base58.b58decode(member.peer_id)
            records.append(AuthoritySpec(hotkey, coldkey, AuthorityKey(key.public_key), proof, peer_id))
            stakes.append((hotkey, coldkey, AUTHORITY_STAKE))
        return replace(
            base,
            genesis_time=Micros(EPOCH + 1_000_000),
            stakes=tuple(sorted(stakes)),
            authorities=tuple(sorted(records, key=lambda record: record.hotkey)),
        )

    # --- running ----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self, members: Iterable[Member] | None = None) -> AsyncIterator[World]:
        """Run these members (default: the authorities); all are stopped at the end."""
        async with trio.open_nursery() as nursery:
            self.nursery = nursery
            for member in self.authorities if members is None else members:
                await self.start(member)
            yield self
            for member in [member for member in self.members if member.peer is not None]:
                await self.stop(member)
            nursery.cancel_scope.cancel()

    async def start(self, member: Member) -> Peer:
        """Start the member from its home, as `process.run_peer` does."""
        member.starts += 1
        member.error, member.ended = None, trio.Event()
        if not any(member.home.chains.glob("*")):
            create_chain(member.home, self.spec_bytes)
        await self.nursery.start(self._live, member)
        return member.running

    async def stop(self, member: Member) -> None:
        """End it as a crash would: no farewell, stores closed by the operating system."""
        assert member.scope is not None
        member.scope.cancel()
        await member.ended.wait()

    async def _live(self, member: Member, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        try:
            with ExitStack() as stack, trio.CancelScope() as member.scope:
                peer = member.peer = self._build(member, stack)
                async with trio.open_nursery() as nursery:
                    await nursery.start(peer.run)
                    if member.account is not None:
                        self._start_heartbeat(nursery, member, peer)
                    task_status.started()
        except BaseExceptionGroup as group:
            stopped, failed = group.split(trio.Cancelled)
            if failed is not None:
                member.error = _first(failed)
            if stopped is not None:
                raise stopped from None
        finally:
            member.peer = None
            member.ended.set()

    def _build(self, member: Member, stack: ExitStack) -> Peer:
        folder = the_chain_of(member.home)
        opened = open_chain(folder, genesis_hash_of_folder(folder))
        stack.callback(opened.store.close)
        clock = TrioClock(EPOCH, member.skew)
        authority = None
        for found in list_authorities(member.home.authority_folder):
            authority = open_authority(found, clock.now())
            stack.callback(authority.close)
        peer_store = PeerStore.open(folder.peer_database)
        stack.callback(peer_store.close)
        index = IndexStore.open(folder.index_database)
        stack.callback(index.close)
        key = KeyPair(member.home.peer_seed(lambda: b""))
        others = tuple(other.address for other in self.authorities if other is not member)
        hotkey = None if member.account is None else dev_keypair(f"{member.account}/hotkey")
        rng = random.Random(f"{member.name}/{member.starts}/{self.rng.random()}")
        peer = Peer(
            opened,
            self.network.transport(member.peer_id),
            key,
            Surroundings(clock, rng, InlineRunner(), InlineRunner()),
            PeerSettings(
                name=member.name,
                bootstrap=others if member.account is not None else others[:1],
                announce=(member.address.rpartition("/p2p/")[0],),
                hotkey=hotkey,
            ),
            authority=authority,
            peer_store=peer_store,
            index=index,
            own_transactions=OwnTransactions(folder.path),
        )
        member.prepare(peer)
        peer.on_final.append(
            lambda report: member.finals.extend((block.header.height, block.hash) for block in report.blocks)
        )
        return peer

    def _start_heartbeat(self, nursery: trio.Nursery, member: Member, peer: Peer) -> None:
        hotkey = peer.settings.hotkey
        assert hotkey is not None
        rng = random.Random(f"heartbeat/{member.name}")
        nursery.start_soon(Heartbeat(PeerAnswers(peer), hotkey, peer.transport.local_peer, peer.clock, rng).run)

    # --- looking ----------------------------------------------------------------------------------------------------

    async def until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Wait in virtual time; fails when the condition does not come true within `seconds`."""
        with trio.move_on_after(seconds):
            while not condition():  # noqa: ASYNC110  # about many peers at once: there is no one event
                await trio.sleep(self.slot / 5)
        where = {member.name: member.height for member in self.members if member.peer is not None}
        assert condition(), f"not within {seconds} s of virtual time; heights: {where}"

    async def until_height(self, height: int, members: Sequence[Member] | None = None, *, within: float = 120) -> None:
        """Until all of `members` (default: those that run) have finalised `height`."""
        await self.until(lambda: all(m.height >= height for m in self._or_running(members)), within)

    def agree(self, members: Sequence[Member] | None = None) -> int:
        """The common height, after comparing every block and the state roots up to it."""
        running = self._or_running(members)
        common = min(member.height for member in running)
        for height in range(1, common + 1):
            assert len({member.hash_at(height) for member in running}) == 1, f"fork at height {height}"
        return common

    def _or_running(self, members: Sequence[Member] | None) -> list[Member]:
        return [m for m in self.members if m.peer is not None] if members is None else list(members)

    async def transfer(self, member: Member, sender: str, receiver: str, amount: int, *, ahead: int = 0) -> Hash32:
        """Submit a transfer between development accounts at one member, its nonce `ahead` of the next; its id."""
        answers = PeerAnswers(member.running)
        key = dev_keypair(sender)
        call = call_named("balances.transfer_keep_alive")
        assert call is not None
        nonce = await answers.ask_pool(lambda pool: pool.next_nonce(AccountId(key.public_key)))
        transaction = sign_transaction(
            answers.transaction_domain,
            key,
            nonce=nonce + ahead,
            valid_until=member.height + 60,
            call=call.number,
            args=[dev_keypair(receiver).public_key, amount],
        )
        admission = await answers.submit(encode_transaction(transaction))
        assert admission.code == "accepted", admission
        return signing_digest(answers.transaction_domain, transaction)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
