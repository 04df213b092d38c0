"""Catching up from a trusted point: status, proof walk, proven target, range (CHAIN 2.2 steps 1, 2 and 4).

Nothing is believed that is not proven: claims in `status` only choose whom to ask. The walk proves the boundary of
every finished era; the newest F above it is proven by one header with its certificate under the running era's set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from ...consensus.timing import Timing
from ...consensus.types import Hash32, Height, InvalidError
from ..interfaces import ChainSink
from ..messages import HEADERS, STATUS, HeadersRequest, Status
from ..peer_ledger import Offence
from ..requests import RequestClient, RequestError
from ..transport import PeerId
from .progress import OnProgress, silent
from .proofs import walk_proofs
from .proven_sets import ProvenPoint, ProvenSets, RestartCheck, Span
from .range import check_header_page
from .scheduler import RangeSync
from .sync_peers import SyncPeers

FOLLOW_WITHIN: Final = 2
"""Blocks that gossip and exchange may lag without sync stepping in: F moves while a status travels."""


class CatchUp:
    """Runs sync rounds. The daemon tells it where it stands and gets the applied blocks through the sink."""

    def __init__(
        self,
        client: RequestClient,
        peers: SyncPeers,
        sink: ChainSink,
        timing: Timing,
        start: Callable[[], tuple[Height, Span]],
        own_status: Callable[[], Status],
        *,
        restart_check: RestartCheck | None = None,
        anchors: Mapping[Height, Hash32] | None = None,
        on_progress: OnProgress = silent,
    ) -> None:
        """`start` gives F's height and the span of the set that decides the next height."""
        self._client = client
        self._peers = peers
        self._sink = sink
        self._start = start
        self._timing = timing
        self._restart_check = restart_check
        self._own_status = own_status
        self._anchors = dict(anchors or {})
        self._on_progress = on_progress

    async def ask_status(self, peer: PeerId) -> Status | None:
        """Exchange statuses with a peer; one of another chain is banned, one that answers may be asked by sync."""
        own = self._own_status()
        try:
            replies = await self._client.request(peer, STATUS, own)
        except RequestError:
            return None
        if not replies:
            return None
        self.hear_status(peer, replies[0])
        return replies[0]

    def hear_status(self, peer: PeerId, status: Status) -> None:
        """A peer said where it stands, asked or not."""
        if status.genesis_hash != self._own_status().genesis_hash:
            self._peers.lied(peer, Offence.WRONG_GENESIS)
        else:
            self._peers.heard(peer, status)

    def is_behind(self) -> bool:
        """Whether somebody claims enough more that sync should look."""
        return self._peers.best_claim() > self._start()[0] + FOLLOW_WITHIN

    async def run_once(self) -> Height:
        """One round: prove the best target there is and apply everything up to it. Returns the height reached.

        Raises RangeFailed, AnchorMismatch, or what the sink raises.
        """
        height, span = self._start()
        sets = ProvenSets(self._timing, span, self._restart_check)
        await walk_proofs(sets, self._client, self._peers, self._on_progress)
        target = await self._prove_target(sets, height)
        if target is None or target.height <= height:
            return height
        range_sync = RangeSync(
            self._client, self._peers, sets, self._sink, anchors=self._anchors, on_progress=self._on_progress
        )
        await range_sync.run(Height(height + 1), target)
        return target.height

    async def _prove_target(self, sets: ProvenSets, height: Height) -> ProvenPoint | None:
        """The highest claim that its peer can prove, or the newest proven boundary."""
        best = sets.boundary
        for peer, status in self._peers.claims():
            claimed = status.finalised_height
            known = height if best is None else max(height, best.height)
            if claimed <= known:
                break
            if claimed > sets.last_provable:
                self._peers.overclaimed(peer, known)
                continue
            point = await self._prove_claim(sets, peer, claimed)
            if point is not None:
                return point
            self._peers.overclaimed(peer, known)
        return best

    async def _prove_claim(self, sets: ProvenSets, peer: PeerId, height: Height) -> ProvenPoint | None:
        try:
            with self._peers.using(peer):
                replies = await self._client.request(peer, HEADERS, HeadersRequest(height, 1))
        except RequestError:
            return None
        try:
            for reply in replies[:1]:
                check_header_page(reply, height, None)
                for certificate in reply.certificates[:1]:
                    return sets.prove(reply.headers[0], certificate)
        except InvalidError:
            self._peers.lied(peer, Offence.BAD_CERTIFICATE)
        return None
