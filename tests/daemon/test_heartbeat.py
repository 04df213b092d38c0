"""When an authority sends its heartbeat, and that one arrives in each era, also after a restart (CHAIN 1.3)."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from small_peer import SmallPeer
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.rules.v1.schema import AUTHORITIES
from yumad.consensus.types import Height, Micros
from yumad.daemon.heartbeat import EARLY_SHARE, Heartbeat, HeartbeatSituation, is_due
from yumad.protocols.libp2p.identity import peer_id_of

ERA = 8
HOTKEY = dev_keypair("authority-hot")
PEER_ID = peer_id_of(dev_keypair("peer").public_key)


def situation(height: int, *, last: int = 0, registered: bool = True, pending: bool = False, delay: int = 0) -> bool:
    return is_due(HeartbeatSituation(Height(height), ERA, registered, last, pending, delay))


@pytest.mark.parametrize(
    ("height", "last", "due"),
    [
        (0, 0, True),  # the next block is the first of era 0
        (7, 0, True),  # its last one: late is better than never
        (8, 0, True),
        (8, 8, True),  # heartbeat at height 8 was era 0; the next block opens era 1
        (8, 9, False),
        (15, 9, False),
        (16, 9, True),
        (16, 16, True),
        (17, 17, False),
    ],
)
def test_heartbeat_is_due_once_per_era_of_the_next_block(height: int, last: int, due: bool) -> None:
    assert situation(height, last=last) is due


def test_heartbeat_waits_for_its_delay_and_not_longer() -> None:
    assert [situation(8 + offset, delay=2) for offset in range(4)] == [False, False, True, True]


def test_heartbeat_is_not_sent_without_a_registered_key_or_while_one_waits() -> None:
    assert not situation(8, registered=False)
    assert not situation(8, pending=True)


@dataclass
class At:
    """A clock that stands."""

    time: int

    def now(self) -> Micros:
        return Micros(self.time)


def heartbeat(peer: SmallPeer, *, now: int | None = None, hotkey: str = "authority-hot") -> Heartbeat:
    clock = At(peer.status().finalised_time if now is None else now)
    return Heartbeat(peer, dev_keypair(hotkey), PEER_ID, clock, random.Random(1))


def last_heartbeat(peer: SmallPeer) -> tuple[int, bytes]:
    state = peer.chain.state_at_finalised()
    row = state.key_table(AUTHORITIES).find(HOTKEY.public_key)
    length = int(state.read("authorities/peer_id_length", row))
    return int(state.read("authorities/heartbeat_at", row)), state.read("authorities/peer_id", row).tobytes()[:length]


async def test_one_heartbeat_reaches_the_chain_in_each_of_several_eras() -> None:
    peer = SmallPeer()
    sender = heartbeat(peer)
    heights = []
    for _ in range(4 * ERA):
        await sender.look()
        peer.make_block()
        if last_heartbeat(peer)[0] not in heights and last_heartbeat(peer)[0]:
            heights.append(last_heartbeat(peer)[0])
    assert [(height - 1) // ERA for height in heights] == [0, 1, 2, 3]
    assert all((height - 1) % ERA <= ERA // EARLY_SHARE for height in heights), "early in the era"
    assert last_heartbeat(peer)[1] == b"\x00\x24\x08\x01\x12\x20" + dev_keypair("peer").public_key


async def test_restart_sends_none_that_waits_or_is_in_and_one_that_is_missing() -> None:
    peer = SmallPeer()
    assert await heartbeat(peer).look()
    assert not await heartbeat(peer).look(), "one waits in the pool"
    peer.make_block()
    assert not await heartbeat(peer).look(), "one is in the chain"
    for _ in range(ERA):
        peer.make_block()
    assert await heartbeat(peer).look(), "a new era"


async def test_peer_that_is_behind_sends_none() -> None:
    peer = SmallPeer()
    era_length = ERA * peer.spec.slot_length
    assert not await heartbeat(peer, now=peer.spec.genesis_time + 2 * era_length + 1).look()
    peer.syncing_to = Height(500)
    assert not await heartbeat(peer).look()
    assert not peer.submitted


async def test_hotkey_without_a_registration_sends_none() -> None:
    peer = SmallPeer()
    assert not await heartbeat(peer, hotkey="alice").look()
    assert not peer.submitted


async def test_heartbeat_left_out_of_its_era_leaves_the_pool_at_the_boundary() -> None:
    peer = SmallPeer()
    await heartbeat(peer).look()
    entry = peer.mempool.entries()[0]
    assert entry.transaction.valid_until == ERA
