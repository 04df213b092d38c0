"""The vote exchange on streams: `/yumad/<net>/<digest>/votes/1` (CHAIN 1.5).

A long-lived stream joins each pair of neighbours; both sides read and write on it. Of two streams between one pair the
one that the smaller peer id opened stays. Each tick says to every neighbour what it lacks; own new votes are said at
once, since they are small and everybody waits for them. Nothing is dropped by a full queue: `deliver` is awaited before
the next frame is read, so a slow engine slows its neighbours down instead of losing votes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trio

from ..consensus.certificate import Certificate
from ..consensus.statement import Kind, SignedStatement
from ..consensus.types import Era, MalformedError
from .exchange_frames import decode_exchange_frame, encode_exchange_frame
from .exchange_state import ExchangeState, Item
from .framing import frame, read_frame
from .interfaces import ConsensusView, Rng
from .limits import (
    AUTHORITY_NEIGHBOURS,
    MAX_EXCHANGE_SESSIONS,
    MAX_FRAME_BYTES,
    MAX_FRAMES_PER_SECOND,
    OPEN_TIMEOUT,
    RANDOM_NEIGHBOURS,
    Quota,
)
from .names import NetworkNames
from .peer_ledger import Offence
from .penalties import Penalties
from .token_bucket import TokenBucket
from .transport import NotConnected, PeerId, Stream, StreamClosed, StreamHandler, StreamRefused, Transport

if TYPE_CHECKING:
    from trio_typing import TaskStatus

Deliver = Callable[[Sequence[Item], PeerId], Awaitable[None]]
"""Takes verified items with the neighbour that sent them; may wait, and the neighbour waits with it."""

EXCHANGE_TICK: Final = 0.1
"""Seconds between frames in `main`; `dev` has DEV_EXCHANGE_TICK."""

DEV_EXCHANGE_TICK: Final = 0.02

_CHOOSE_INTERVAL: Final = 0.5
"""Seconds between looks for missing neighbours."""

_BEHIND_INTERVAL: Final = 5.0
"""Seconds between two reports that one neighbour is in a later era: a claim, which costs status requests to look into.
"""

_RETRY_AFTER: Final = 5.0
"""Seconds after which a neighbour whose stream failed is tried again, unless it comes by itself."""


@dataclass(slots=True)
class _Session:
    """One stream to a neighbour."""

    stream: Stream
    outbound: bool
    repair_only: bool
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    wake: trio.Event = field(default_factory=trio.Event)
    reported_behind: float = -math.inf
    """When this neighbour's later era was last reported."""


class Exchange:
    """Runs the exchange of one peer. `register` before the transport runs, then `run`."""

    def __init__(
        self,
        transport: Transport,
        names: NetworkNames,
        view: ConsensusView,
        deliver: Deliver,
        penalties: Penalties,
        rng: Rng,
        *,
        digest: bytes,
        previous_digest: bytes | None = None,
        tick: float = EXCHANGE_TICK,
        authority_peers: Callable[[], Collection[PeerId]] = tuple,
        behind: Callable[[PeerId, Era], None] = lambda peer, era: None,
    ) -> None:
        """`authority_peers` names peers announced on chain; `behind` hears of neighbours in a later era than ours."""
        self._transport = transport
        self._names = names
        self._view = view
        self._deliver = deliver
        self._penalties = penalties
        self._rng = rng
        self._digest = digest
        self._previous_digest = previous_digest
        self._tick = tick
        self._authority_peers = authority_peers
        self._behind = behind
        self._state = ExchangeState(view)
        self._sessions: dict[PeerId, _Session] = {}
        self._not_before: dict[PeerId, float] = {}
        self.counters: Counter[str] = Counter()
        """Frames and items in and out, and what was dropped by reason, for metrics."""

    # --- the daemon's side ------------------------------------------------------------------------------------------

    def register(self) -> None:
        """Serve the current digest, and the previous one for laggards."""
        self._transport.set_stream_handler(self._names.votes(self._digest), self._handler(self._digest))
        if self._previous_digest is not None:
            previous = self._previous_digest
            self._transport.set_stream_handler(self._names.votes(previous), self._handler(previous))

    def set_digest(self, digest: bytes, previous: bytes | None) -> None:
        """The rules or the restart domain changed (or, with the same digest, its era of grace is over).

        Sessions of other digests end; those of `previous` may come back for the finality of the boundary.
        """
        changed = digest != self._digest
        self._digest, self._previous_digest = digest, previous
        if changed:
            self.register()
        for session in list(self._sessions.values()):
            if changed or (session.repair_only and previous is None):
                session.scope.cancel()

    def offer(self, item: SignedStatement | Certificate) -> None:
        """Pass on a durable item of our own engine. Own votes leave at once, the rest with the next tick.

        A proposal's statement waits for the tick too: its block is on its way by gossip, and a neighbour that heard of
        it first would pull the block a second time.
        """
        is_new = self._state.offer(item)
        if is_new and isinstance(item, SignedStatement) and item.statement.kind is not Kind.PROPOSE:
            for session in self._sessions.values():
                session.wake.set()

    def prune(self) -> None:
        """F or the era moved (read from the consensus view)."""
        self._state.prune()

    def neighbours(self) -> tuple[PeerId, ...]:
        """Peers with a session, ascending."""
        return tuple(sorted(self._sessions))

    @property
    def state(self) -> ExchangeState:
        """The bookkeeping, for metrics."""
        return self._state

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Choose neighbours and keep time until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_time)
            task_status.started()
            while True:
                for peer in self._choose():
                    nursery.start_soon(self._call, peer)
                await trio.sleep(_CHOOSE_INTERVAL)

    async def _keep_time(self) -> None:
        while True:
            await trio.sleep(self._tick)
            for peer in self._state.tick():
                self._sessions[peer].wake.set()

    # --- neighbours -------------------------------------------------------------------------------------------------

    def _choose(self) -> list[PeerId]:
        """Peers to open a stream to: up to 4 authorities and 4 others, at random among those connected."""
        now = trio.current_time()
        self._not_before = {peer: at for peer, at in self._not_before.items() if at > now}
        candidates = [
            peer for peer in self._transport.connected() if peer not in self._sessions and peer not in self._not_before
        ]
        announced = set(self._authority_peers())
        chosen: list[PeerId] = []
        for is_authority, wanted in ((True, AUTHORITY_NEIGHBOURS), (False, RANDOM_NEIGHBOURS)):
            have = sum(s.outbound and (peer in announced) == is_authority for peer, s in self._sessions.items())
            pool = [peer for peer in candidates if (peer in announced) == is_authority]
            while pool and have < wanted and len(self._sessions) + len(chosen) < MAX_EXCHANGE_SESSIONS:
                chosen.append(pool.pop(self._rng.randrange(0, len(pool))))
                have += 1
        for peer in chosen:
            self._not_before[peer] = now + _RETRY_AFTER
        return chosen

    async def _call(self, peer: PeerId) -> None:
        digest = self._digest
        try:
            stream = await self._transport.open_stream(peer, self._names.votes(digest), timeout=OPEN_TIMEOUT)
        except (NotConnected, StreamRefused):
            self.counters["open_failed"] += 1
            return
        if digest != self._digest:
            await stream.reset()
            return
        await self._keep_session(_Session(stream, outbound=True, repair_only=False))

    def _handler(self, digest: bytes) -> StreamHandler:
        async def handle(stream: Stream) -> None:
            if digest not in (self._digest, self._previous_digest):
                await stream.reset()
                return
            await self._keep_session(_Session(stream, outbound=False, repair_only=digest != self._digest))

        return handle

    def _admit(self, session: _Session) -> bool:
        """Make it the session of its peer, unless another one is to stay."""
        peer = session.stream.peer
        other = self._sessions.get(peer)
        if other is not None:
            if other.outbound != session.outbound:
                # Two streams crossed: on both sides the one that the smaller id opened stays.
                keep_outbound = self._transport.local_peer < peer
                if other.outbound == keep_outbound:
                    return False
            other.scope.cancel()
        elif len(self._sessions) >= MAX_EXCHANGE_SESSIONS and peer not in self._authority_peers():
            self.counters["sessions_full"] += 1
            return False
        self._sessions[peer] = session
        self._state.join(peer, repair_only=session.repair_only)
        return True

    async def _keep_session(self, session: _Session) -> None:
        """Read and write until the stream ends. Raises nothing but cancellation from outside."""
        peer = session.stream.peer
        try:
            if not self._admit(session):
                return
            session.wake.set()
            with session.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write, session)
                    try:
                        await self._read(session)
                    except StreamClosed:
                        self.counters["closed"] += 1
                    except MalformedError:
                        self.counters["malformed"] += 1
                        self._penalties.offend(peer, Offence.MALFORMED)
                    nursery.cancel_scope.cancel()
        finally:
            if self._sessions.get(peer) is session:
                del self._sessions[peer]
                self._state.leave(peer)
            with trio.CancelScope(shield=True):
                await session.stream.reset()

    async def _write(self, session: _Session) -> None:
        peer = session.stream.peer
        try:
            while True:
                await session.wake.wait()
                session.wake = trio.Event()
                while self._sessions.get(peer) is session:
                    message = self._state.next_frame(peer)
                    if message is None:
                        break
                    self.counters["frames_out"] += 1
                    self.counters["items_out"] += len(message.certificates) + len(message.statements)
                    await session.stream.write_all(frame(encode_exchange_frame(message)))
        except StreamClosed:
            session.scope.cancel()

    def _report_behind(self, session: _Session, era: Era) -> None:
        now = trio.current_time()
        if now >= session.reported_behind + _BEHIND_INTERVAL:
            session.reported_behind = now
            self._behind(session.stream.peer, era)

    async def _read(self, session: _Session) -> None:
        peer = session.stream.peer
        pace = TokenBucket(Quota(MAX_FRAMES_PER_SECOND, 1), trio.current_time())
        while True:
            data = await read_frame(session.stream, MAX_FRAME_BYTES)
            wait = pace.wait(1, trio.current_time())
            pace.take(1, trio.current_time())
            if wait > 0:
                await trio.sleep(wait)
            received = self._state.receive(peer, decode_exchange_frame(data))
            self.counters["frames_in"] += 1
            self.counters["items_in"] += len(received.items)
            for reason, count in received.dropped.items():
                self.counters[f"dropped_{reason}"] += count
            position = self._state.position_of(peer)
            if position is not None and position.era > self._view.era:
                self._report_behind(session, position.era)
            if received.items:
                self._penalties.useful(peer)
                await self._deliver(received.items, peer)
            if received.offence is not None:
                self.counters[f"dropped_{received.offence.label}"] += 1
                self._penalties.offend(peer, received.offence)
                return
