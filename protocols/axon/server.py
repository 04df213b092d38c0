"""Serving calls on one peer: who is registered, and what all streams share (AXON R1-R9; docs/axon.md).

Nothing that a caller sends raises out of here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import trio

from ...consensus.signature import KeyPair
from ...consensus.types import AccountId, Hash32
from ..peer_ledger import Offence
from ..penalties import Penalties
from ..transport import PeerId, Stream
from .certificate import PeerCertificate, issue_certificate
from .checks import ServerContext
from .interfaces import Admission, CallerView, CallTransport, Handler, IncomingCall, ReplayStore, ServedMethod
from .limits import AxonLimits, KnockLimiter, network_of
from .registrations import Registration, ServedTable
from .served_stream import ServedStream
from .server_call import CallRecord, ServerCall
from .status import Status


class AxonServer:
    """Serves any number of hotkeys on one peer. Streams arrive through the transport; there is nothing to run."""

    def __init__(
        self,
        transport: CallTransport,
        protocol_id: str,
        genesis_hash: Hash32,
        view: CallerView,
        admission: Admission,
        replay: ReplayStore,
        *,
        now_ns: Callable[[], int],
        penalties: Penalties,
        limits: AxonLimits | None = None,
        not_before_ns: int = 0,
        observe: Callable[[CallRecord], None] | None = None,
        is_relay: Callable[[PeerId], bool] = lambda peer: False,
    ) -> None:
        """not_before_ns: calls created earlier are refused; of a MemoryReplayStore its `not_before`, since it cannot
        know what was served before a restart; 0 when the store survives one.
        observe: told how each call ended; must not raise.
        is_relay: whether a peer relays calls to this one: their bad input is not its own.
        """
        self.is_relay = is_relay
        self._transport = transport
        self._penalties = penalties
        self._observe = observe
        limits = limits or AxonLimits()
        self.context = ServerContext(
            genesis_hash, view, admission, replay, now_ns, limits, not_before_ns, KnockLimiter(limits)
        )
        self.outcomes: Counter[tuple[str, Status]] = Counter()
        """Calls by served method ("" when refused before it was known) and status, for metrics."""
        transport.set_stream_handler(protocol_id, self._serve)

    def register(self, hotkey: KeyPair, netuid: int, methods: Sequence[ServedMethod], handler: Handler) -> Registration:
        """Serve `methods` for `hotkey` on a subnet. Raises ValueError when it is served already: replace that one."""
        place = (netuid, AccountId(hotkey.public_key))
        if place in self.context.places:
            raise ValueError(f"this hotkey serves subnet {netuid} already; use replace() of its registration")
        registration = Registration(self.context.places, hotkey, netuid, ServedTable(methods, handler))
        self.context.places[place] = registration
        return registration

    @property
    def running(self) -> int:
        """Calls that wait or run now."""
        return sum(registration.table.running for registration in self.context.places.values())

    def close(self) -> None:
        """Serve nothing more; calls that run are cancelled and their callers told so."""
        for registration in list(self.context.places.values()):
            registration.close()

    async def _serve(self, stream: Stream) -> None:
        await ServedStream(self, stream).run()

    def certify(self, registration: Registration) -> PeerCertificate:
        """A served hotkey's certificate for this peer."""
        context = self.context
        return issue_certificate(
            registration.key, context.genesis_hash, self._transport.local_peer, issued=context.now_ns()
        )

    def network_of(self, peer: PeerId) -> str:
        """The network a connected peer comes from."""
        return network_of(self._transport.remote_address(peer))

    def note(self, record: CallRecord) -> None:
        """Count a call that is over."""
        self.outcomes[record.method, record.status] += 1
        if self._observe is not None:
            self._observe(record)

    def note_bad_input(self, peer: PeerId, network: str) -> None:
        """A bad signature or malformed frame: past a few the peer is muted, and its score falls.

        A relay is not: it copies what it cannot read, and a stranger's bytes must not cost this peer its relay.
        """
        if not self.is_relay(peer) and self.context.knocks.bad_input(peer, network, trio.current_time()):
            self._penalties.offend(peer, Offence.MALFORMED)

    def note_flood(self, peer: PeerId, network: str) -> None:
        """A call of a peer that is muted or far over its quota: many of them disconnect it."""
        knocks, now = self.context.knocks, trio.current_time()
        # What others of its network, or those it carries, did costs it no score.
        if not self.is_relay(peer) and (knocks.is_muted(peer, now) or not knocks.is_muted(network, now)):
            self._penalties.offend(peer, Offence.FLOOD)


if TYPE_CHECKING:

    def _keeps_the_contract(call: ServerCall) -> IncomingCall:
        return call
