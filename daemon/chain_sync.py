"""Catching up beside consensus: when it is worth a round, from where, and what it makes final (CHAIN 2.2).

The chain database and the working chain belong to the lane, the engine to the driver: sync moves the first and then
tells the second, which follows when it is ready.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import trio

from ..consensus.authority import AuthoritySet
from ..consensus.block import Block
from ..consensus.certificate import Certificate
from ..consensus.effects import SyncAdvanced
from ..consensus.statement import VoteDomain
from ..consensus.types import Height
from ..protocols.bootstrap import Anchor
from ..protocols.interfaces import BadBlock
from ..protocols.messages import Status
from ..protocols.requests import RequestClient
from ..protocols.sync.catch_up import CatchUp
from ..protocols.sync.progress import Stage, SyncProgress
from ..protocols.sync.proven_sets import Span
from ..protocols.sync.range import RangeFailed
from ..protocols.sync.sync_peers import SyncPeers
from .chain_home import OpenedChain, standing_point
from .driver import ConsensusHalted, Driver
from .execution import ExecutionLane
from .logging import get_logger
from .peer_service import PeerService

SYNC_RETRY: Final = 2.0
"""Seconds between looks at whether others are ahead, and after a failed round."""


class ChainSync:
    """One per peer; implements `ChainSink` for the rounds it runs."""

    def __init__(
        self,
        opened: OpenedChain,
        lane: ExecutionLane,
        driver: Driver,
        vote_domain: VoteDomain,
        requests: RequestClient,
        peers: PeerService,
        sync_peers: SyncPeers,
        own_status: Callable[[], Status],
        trusted: Sequence[Anchor],
    ) -> None:
        """`trusted` are blocks that the chain must contain."""
        self.target: Height | None = None
        """Height that a running catch-up will reach, for status."""
        self.on_progress: Callable[[str, int, int], None] = lambda stage, done, total: None
        self._opened = opened
        self._lane = lane
        self._driver = driver
        self._vote_domain = vote_domain
        self._peers = peers
        self._wanted = trio.Event()
        self._log = get_logger("sync")
        self._catch_up = CatchUp(
            requests,
            sync_peers,
            self,
            opened.spec.timing,
            self._start,
            own_status,
            anchors={anchor.height: anchor.hash for anchor in trusted},
            on_progress=self._progressed,
        )

    def want(self) -> None:
        """Somebody showed that finality is ahead of us: ask a few peers where they stand, now."""
        self._wanted.set()

    async def run(self) -> None:
        """Catch up whenever somebody proves to be ahead. Raises ConsensusHalted, AnchorMismatch or StorageError."""
        while True:
            with trio.move_on_after(SYNC_RETRY):
                await self._wanted.wait()
            wanted, self._wanted = self._wanted.is_set(), trio.Event()
            if wanted:
                await self._peers.refresh()
            if not self._catch_up.is_behind():
                continue
            try:
                await self._catch_up.run_once()
            except RangeFailed as error:
                self._log.warning("sync round failed", reason=error.message)
                await trio.sleep(SYNC_RETRY)
            finally:
                self.target = None

    async def apply_range(self, blocks: Sequence[Block], certificate: Certificate, authorities: AuthoritySet) -> None:
        """`ChainSink`: execute and finalise proven blocks, then tell the engine.

        Raises ConsensusHalted when one does not execute here: the range is proven final block by block, so nobody but
        this peer can be wrong.
        """
        try:
            done = await self._lane.apply_final(blocks, certificate, authorities)
        except BadBlock as error:
            raise ConsensusHalted(
                f"block {error.height} is final and fails here: {error.reason}",
                remedy="this peer's rules or state differ from the network's: run `yumad verify`, compare versions",
            ) from error
        if not done:
            return
        point = standing_point(self._opened.store, self._opened.spec)
        event = SyncAdvanced(point.context, point.finalised, point.view, point.finality)
        await self._driver.advance_by_sync(event, certificate)

    def _progressed(self, progress: SyncProgress) -> None:
        if progress.stage is Stage.BLOCKS:
            self.target = Height(self._opened.store.finalised().height + progress.total - progress.done)
        self.on_progress(progress.stage.value, progress.done, progress.total)

    def _start(self) -> tuple[Height, Span]:
        point = standing_point(self._opened.store, self._opened.spec)
        height, context = point.finalised.height, point.context
        return height, Span(Height(height + 1), context.era, self._vote_domain, context.authorities)
