"""What discovery takes from the chain, and that the chain never learns an address (AXON R33, R34)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import base58
import trio
from trio.testing import MockClock
from yumad.consensus.block import Body, encode_body
from yumad.consensus.chain_spec import ChainSpec
from yumad.consensus.dev_accounts import dev_authority, dev_keypair
from yumad.consensus.rules.v1.calls.serving import CALLS
from yumad.consensus.rules.v1.calls.table import call_named
from yumad.consensus.rules.v1.neurons import hotkeys_of, neuron_array, neuron_row
from yumad.consensus.rules.v1.records import RecordTag
from yumad.consensus.rules.v1.serving import served_record
from yumad.consensus.signature import KeyPair
from yumad.consensus.state.state import State
from yumad.consensus.transaction import encode_transaction, sign_transaction
from yumad.consensus.types import AccountId, Micros
from yumad.daemon.axon.registrations import Registrations
from yumad.daemon.simulate.memory_chain import MemoryChain
from yumad.daemon.swarm_spec import played_spec
from yumad.protocols.axon.records import OfferedMethod, encode_record, make_record
from yumad.protocols.peer_records import peer_id_of
from yumad.protocols.transport import PeerId

T = TypeVar("T")

SUBNET = 1
PEER = peer_id_of(KeyPair(b"\x07" * 32).public_key)
ADDRESS = "203.0.113.77"
QUADS = re.compile(rb"(?<![0-9.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9.])")
MULTIADDRS = re.compile(rb"/(?:ip4|ip6|dns4|dns6|dns|tcp|udp|p2p)/")


def peer_id_text(data: bytes) -> PeerId:
    return PeerId(base58.b58encode(data).decode())


def spec_with_miners() -> ChainSpec:
    bare = played_spec("dev", "hidden", b"hidden", 2_000_000, miners=3)
    entry = dev_authority(1, bare.name, bare.salt).spec
    return replace(bare, authorities=(entry,), stakes=(*bare.stakes, (entry.hotkey, entry.coldkey, 1000 * 10**9)))


class Chain(MemoryChain):
    """Executes blocks of real transactions and remembers them."""

    def __init__(self) -> None:
        super().__init__(spec_with_miners())
        self.bodies: list[bytes] = []

    def sign(self, name: str, call: str, *args: Any) -> bytes:
        entry = call_named(call)
        assert entry is not None
        key = dev_keypair(name)
        nonce = self.state.accounts().nonce(AccountId(key.public_key), self.height + 1)
        return encode_transaction(
            sign_transaction(self.domain, key, nonce=nonce, valid_until=self.height + 100, call=entry.number, args=args)
        )

    def block(self, *transactions: bytes) -> list[int]:
        """Execute one block; gives the result codes."""
        body = Body(None, (), transactions)
        mark = self.state.begin()
        outcome = self.rules.apply_block(self.state, self.context(), body, False)
        self.state.commit(mark)
        self.bodies.append(encode_body(body))
        self.advance(outcome, self.genesis)
        return [result.code for result in outcome.transactions]

    async def read(self, reader: Callable[[State], T]) -> T:
        await trio.lowlevel.checkpoint()
        return reader(self.state)


def served_chain() -> Chain:
    """A chain on which every miner has said in every way where it is served, some blocks later."""
    chain = Chain()
    peer = base58.b58decode(PEER)
    for call, more in (
        ("serving.serve_axon", (b"\1\0\2\0",)),
        ("serving.serve_prometheus", ()),
    ):
        for uid in range(3):
            assert chain.block(chain.sign(f"sn{SUBNET}/{uid}", call, SUBNET, 7, peer, *more)) == [0]
    for _ in range(2 * chain.spec.era_blocks):
        chain.block()
    return chain


def test_r33_no_column_and_no_block_of_a_run_chain_holds_an_address() -> None:
    chain = served_chain()
    served = served_record(chain.state, RecordTag.AXON, SUBNET, dev_keypair(f"sn{SUBNET}/0").public_key)
    assert served is not None
    assert peer_id_text(served["peer_id"]) == PEER, "the chain says which peer, and nothing of where it is"
    held = {name: chain.state.array(name).tobytes() for name in chain.state.names()}
    held |= {f"block {height}": body for height, body in enumerate(chain.bodies, start=1)}
    assert base58.b58decode(PEER) in b"".join(held.values())
    for name, data in held.items():
        assert QUADS.search(data) is None, name
        assert MULTIADDRS.search(data) is None, name
    record = make_record(
        chain.genesis,
        dev_keypair(f"sn{SUBNET}/0"),
        SUBNET,
        PEER,
        (OfferedMethod("echo"),),
        Micros(1),
        addresses=(f"/ip4/{ADDRESS}/tcp/30333",),
    )
    announced = encode_record(record)
    assert QUADS.search(announced), "the search finds an address where there is one"
    assert MULTIADDRS.search(announced)


def test_r33_no_call_of_the_serving_kind_takes_an_address() -> None:
    names = {argument.name for call in CALLS if call.name.startswith("serving.") for argument in call.arguments}
    assert names == {"netuid", "version", "peer_id", "protocols", "certificate"}


async def test_r33_registrations_follow_the_final_state_for_every_subnet(autojump_clock: MockClock) -> None:
    chain = Chain()
    facts = Registrations(chain.read)
    miner, stranger = (AccountId(dev_keypair(name).public_key) for name in (f"sn{SUBNET}/0", "stranger"))
    assert not facts.registered(SUBNET, miner), "nothing is known before the first look"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(facts.run)
        await trio.sleep(0.1)
        assert facts.registered(SUBNET, miner)
        assert not facts.registered(SUBNET, stranger)
        assert not facts.registered(SUBNET + 1, miner)
        hotkeys = hotkeys_of(chain.state, SUBNET)
        permits = neuron_array(chain.state, SUBNET, "permit").tolist()
        holders = [hotkey for hotkey, permit in zip(hotkeys, permits, strict=True) if permit]
        assert list(facts.permit_holders(SUBNET)) == holders
        assert all(facts.permitted(SUBNET, hotkey) == (hotkey in holders) for hotkey in hotkeys)
        row = neuron_row(SUBNET, hotkeys.index(miner))
        mark = chain.state.begin()
        chain.state.write("neurons/permit", row, 1 - int(miner in holders))
        chain.state.commit(mark)
        facts.on_final(None)
        await trio.sleep(20)
        assert facts.permitted(SUBNET, miner) != (miner in holders)
        nursery.cancel_scope.cancel()
