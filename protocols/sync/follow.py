"""Following the head: blocks by hash, the walk back to a known block, certificates by view (CHAIN 2.2 step 5).

What the engine wants (`RequestBlock`, `RequestCertificates`) is fetched until it arrives or is no longer wanted. A
block is taken when its header has the hash asked for and its body matches; both are checked here, so a relay that
alters a body only hurts itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import trio

from ...consensus.block import Block, verify_body
from ...consensus.certificate import Certificate, verify_certificate
from ...consensus.statement import Kind
from ...consensus.types import Era, Hash32, InvalidError, View
from ..interfaces import ConsensusView, Rng
from ..limits import MAX_CERTIFICATES
from ..messages import BLOCKS_BY_HASH, CERTIFICATES, BlocksByHashRequest, CertificatesRequest
from ..peer_ledger import Offence
from ..penalties import Penalties
from ..requests import RequestClient, RequestError
from ..transport import PeerId

if TYPE_CHECKING:
    from trio_typing import TaskStatus

MAX_WALK_BACK: Final = 32
"""Unknown ancestors fetched one by one; deeper is the range's work."""

MAX_WANTED: Final = 256
"""Blocks fetched at one time: MAX_UNFINALISED with its slack, and room for proposals that conflict."""

GRACE: Final = 0.2
"""Seconds that a block may still come by gossip before it is pulled: votes for it are often faster than its bytes."""

_PAUSE: Final = 0.3
_LONGEST_PAUSE: Final = 5.0
"""Between rounds over all peers, doubled each round."""


_Order: TypeAlias = tuple[Hash32, PeerId | None, trio.CancelScope]
"""What to fetch, whom to ask first, and how to stop."""


class BlockFetcher:
    """Fetches single blocks by hash from connected peers."""

    def __init__(
        self,
        client: RequestClient,
        connected: Callable[[], Sequence[PeerId]],
        deliver: Callable[[Block, PeerId], Awaitable[None]],
        penalties: Penalties,
        rng: Rng,
        *,
        grace: float = GRACE,
    ) -> None:
        self._client = client
        self._connected = connected
        self._deliver = deliver
        self._penalties = penalties
        self._rng = rng
        self._grace = grace
        self._wanted: dict[Hash32, trio.CancelScope] = {}
        self._send, self._receive = trio.open_memory_channel[_Order](2 * MAX_WANTED)
        self.counters: Counter[str] = Counter()

    def want(self, block_hash: Hash32, hint: PeerId | None = None) -> bool:
        """Start fetching, from `hint` first. False when it is being fetched already.

        Past MAX_WANTED the block wanted longest is given up: nobody had it for long, and the engine asks again.
        """
        if block_hash in self._wanted:
            return False
        while len(self._wanted) >= MAX_WANTED:
            self.counters["given_up"] += 1
            self.drop(next(iter(self._wanted)))
        scope = trio.CancelScope()
        try:
            self._send.send_nowait((block_hash, hint, scope))
        except trio.WouldBlock:
            return False
        self._wanted[block_hash] = scope
        return True

    def drop(self, block_hash: Hash32) -> None:
        """The block arrived another way, or F passed it."""
        scope = self._wanted.pop(block_hash, None)
        if scope is not None:
            scope.cancel()

    def wanted(self) -> tuple[Hash32, ...]:
        """What is being fetched."""
        return tuple(self._wanted)

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Fetch until cancelled."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            async for block_hash, hint, scope in self._receive:
                nursery.start_soon(self._fetch_until_here, block_hash, hint, scope)

    async def _fetch_until_here(self, block_hash: Hash32, hint: PeerId | None, scope: trio.CancelScope) -> None:
        with scope:
            await trio.sleep(self._grace)
            pause = _PAUSE
            while True:
                for peer in self._order(hint):
                    block = await self.fetch_once(peer, block_hash)
                    if block is not None:
                        self._wanted.pop(block_hash, None)
                        await self._deliver(block, peer)
                        return
                await trio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _order(self, hint: PeerId | None) -> list[PeerId]:
        peers = [peer for peer in self._connected() if peer != hint]
        for index in range(len(peers)):
            other = self._rng.randrange(index, len(peers))
            peers[index], peers[other] = peers[other], peers[index]
        return [hint, *peers] if hint is not None and hint in self._connected() else peers

    async def fetch_once(self, peer: PeerId, block_hash: Hash32) -> Block | None:
        """Ask one peer; None when it does not have it or what it sent is not it (then it is reported)."""
        try:
            blocks = await self._client.request(peer, BLOCKS_BY_HASH, BlocksByHashRequest((block_hash,)))
        except RequestError as error:
            self.counters[error.code] += 1
            return None
        if not blocks:
            self.counters["not_available"] += 1
            return None
        try:
            if blocks[0].hash != block_hash:
                raise InvalidError("another block than the one asked for")
            verify_body(blocks[0].header, blocks[0].body)
        except InvalidError:
            self.counters["bad_reply"] += 1
            self._penalties.offend(peer, Offence.BAD_REPLY)
            return None
        self.counters["ok"] += 1
        self._penalties.useful(peer)
        return blocks[0]

    async def walk_back(
        self, block_hash: Hash32, is_known: Callable[[Hash32], bool], hint: PeerId | None = None
    ) -> list[Block] | None:
        """Blocks from the first unknown one up to `block_hash`, ascending.

        None when a block cannot be had from anybody now, or when more than MAX_WALK_BACK are unknown: then it is for
        range sync.
        """
        chain: list[Block] = []
        while not is_known(block_hash):
            if len(chain) == MAX_WALK_BACK:
                return None
            for peer in self._order(hint):
                block = await self.fetch_once(peer, block_hash)
                if block is not None:
                    hint = peer
                    break
            else:
                return None
            chain.append(block)
            block_hash = block.header.parent_hash
        return chain[::-1]


async def fetch_certificates(
    client: RequestClient,
    peers: Sequence[PeerId],
    view: ConsensusView,
    penalties: Penalties,
    era: Era,
    views: Sequence[View],
) -> list[Certificate]:
    """Any certificates of these views of the running era, verified; peers are asked until every view has one.

    A certificate that does not verify bans its sender.
    """
    kinds = (Kind.NOTARIZE, Kind.NULLIFY, Kind.FINALIZE)
    missing = dict.fromkeys(views)
    found: list[Certificate] = []
    for peer in peers:
        authorities = view.authorities(era)
        if not missing or era != view.era or authorities is None:
            break
        wanted = tuple((number, kind) for number in missing for kind in kinds)[:MAX_CERTIFICATES]
        try:
            certificates = await client.request(peer, CERTIFICATES, CertificatesRequest(era, wanted))
        except RequestError:
            continue
        try:
            for certificate in certificates:
                name = (certificate.statement.view, certificate.kind)
                if certificate.statement.era != era or name not in wanted:
                    raise InvalidError("a certificate that was not asked for")
                verify_certificate(view.vote_domain, certificate, authorities)
                found.append(certificate)
                missing.pop(certificate.statement.view, None)
        except InvalidError:
            penalties.offend(peer, Offence.BAD_CERTIFICATE)
    return found
