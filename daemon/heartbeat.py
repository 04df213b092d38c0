"""An authority's heartbeat: a free transaction in each era, without which the next set is made without it (CHAIN 1.3).

Sent early in the era, at a height that is drawn anew for each era so that not all arrive in one block. Whether it is
due is a pure function of the finalised state, so it is sent also after a restart and never twice.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

import base58
import trio

from ..consensus.rules.v1.balances import current_height
from ..consensus.rules.v1.calls.table import call_named
from ..consensus.rules.v1.schema import AUTHORITIES
from ..consensus.signature import KeyPair
from ..consensus.state.state import State
from ..consensus.transaction import encode_transaction, sign_transaction
from ..consensus.types import AccountId, Height
from ..protocols.interfaces import Clock
from ..protocols.transport import PeerId
from .admission import Verdict
from .logging import get_logger
from .peer_view import PeerView

CALL_NAME: Final = "authority.heartbeat"

EARLY_SHARE: Final = 8
"""The heartbeat is sent in the first eighth of an era: what is left over is for retries."""

STALE_ERAS: Final = 2
"""A finalised block older than this many eras says that the peer is behind: it would speak of an era long over."""


@dataclass(frozen=True, slots=True)
class HeartbeatSituation:
    """What the decision depends on."""

    height: Height
    """Newest final height."""
    era_blocks: int
    registered: bool
    """The hotkey has a registered authority key."""
    last: int
    """Height of its newest heartbeat, 0 for none."""
    pending: bool
    """A heartbeat of it waits in the pool."""
    delay: int
    """Blocks into the era at which this peer sends."""

    @property
    def era(self) -> int:
        """Era of the next block."""
        return self.height // self.era_blocks

    @property
    def boundary(self) -> int:
        """Last height of that era: a heartbeat is of no use after it."""
        return (self.era + 1) * self.era_blocks


def is_due(situation: HeartbeatSituation) -> bool:
    """Whether to send a heartbeat now."""
    if not situation.registered or situation.pending:
        return False
    if situation.last and (situation.last - 1) // situation.era_blocks == situation.era:
        return False
    return situation.height % situation.era_blocks >= situation.delay


class Heartbeat:
    """Sends the heartbeats of one hotkey; `run` beside the peer."""

    def __init__(self, peer: PeerView, hotkey: KeyPair, peer_id: PeerId, clock: Clock, rng: random.Random) -> None:
        """`peer_id` is announced on chain, so that others find the authority."""
        call = call_named(CALL_NAME)
        assert call is not None, "the rules have no heartbeat call"
        self._call = call
        self._peer = peer
        self._hotkey = hotkey
        self._account = AccountId(hotkey.public_key)
        self._peer_id = base58.b58decode(peer_id)
        self._clock = clock
        self._rng = rng
        self._era = -1
        self._delay = 0
        self._said = ""
        self._log = get_logger("heartbeat")

    async def run(self) -> None:
        """Look once a slot, until cancelled."""
        while True:
            await self.look()
            await trio.sleep(self._peer.spec.slot_length / 1_000_000)

    async def look(self) -> bool:
        """Send one heartbeat if it is due; whether one was taken."""
        if self._is_behind():
            return False
        situation = await self._situation()
        if not situation.registered:
            self._say_once("the hotkey has no registered authority key: no heartbeat is sent")
        return is_due(situation) and await self._send(situation)

    def _is_behind(self) -> bool:
        spec, status = self._peer.spec, self._peer.status()
        age = self._clock.now() - status.finalised_time
        return status.syncing_to is not None or age > STALE_ERAS * spec.era_blocks * spec.slot_length

    async def _situation(self) -> HeartbeatSituation:
        registered, last, height = await self._peer.read(self._registration)
        era_blocks = self._peer.spec.era_blocks
        if height // era_blocks != self._era:
            self._era = height // era_blocks
            self._delay = self._rng.randrange(max(1, era_blocks // EARLY_SHARE))
        waiting = self._peer.mempool.waiting_of(self._account)
        pending = any(entry.call is self._call for entry in waiting)
        return HeartbeatSituation(height, era_blocks, registered, last, pending, self._delay)

    def _registration(self, state: State) -> tuple[bool, int, Height]:
        row = state.key_table(AUTHORITIES).find(self._account)
        last = 0 if row is None else int(state.read("authorities/heartbeat_at", row))
        return row is not None, last, Height(current_height(state))

    async def _send(self, situation: HeartbeatSituation) -> bool:
        nonce = await self._peer.ask_pool(lambda pool: pool.next_nonce(self._account))
        transaction = sign_transaction(
            self._peer.transaction_domain,
            self._hotkey,
            nonce=nonce,
            valid_until=situation.boundary,
            call=self._call.number,
            args=[self._peer_id],
        )
        admission = await self._peer.submit(encode_transaction(transaction))
        if admission.verdict is Verdict.ACCEPT:
            self._said = ""
            self._log.info("heartbeat sent", era=situation.era, height=situation.height)
            return True
        self._say_once(f"a heartbeat was not taken: {admission.code}: {admission.reason}")
        return False

    def _say_once(self, text: str) -> None:
        if text != self._said:
            self._said = text
            self._log.warning(text, hotkey=self._account.hex()[:16])
