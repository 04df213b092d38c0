"""Calls and discovery on the control socket: send a signed call, look who serves, who is reached, how fast (AXON R31,
R33, R43).

The socket signs nothing: `axon.forward` sends envelopes that a command has signed. What it carries is bounded by a line
of the socket, which is for trying things out; plugins call without that bound.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import trio

from ...consensus.rules.v1.calls.call import Argument, ArgumentKind
from ...consensus.rules.v1.neurons import hotkeys_of
from ...consensus.rules.v1.subnets import subnet_exists
from ...consensus.ss58 import encode_address
from ...consensus.state.state import State
from ...consensus.types import AccountId, Micros
from ...protocols.axon.client import AxonClient
from ...protocols.axon.client_forward import Forwarder
from ...protocols.axon.envelope import MAX_ENVELOPE
from ...protocols.axon.interfaces import CallResult
from ...protocols.interfaces import Clock
from ...protocols.names import NetworkNames
from ...protocols.transport import Transport
from ..arguments import ArgumentError, from_json
from ..peer_view import PeerView
from ..registry import AnyList, Json, Method, NotFoundError
from .axon_documents import ping_document, reach_document, record_document, result_document
from .chain_view import ChainView
from .discovery import Discovery
from .reachability import MAX_TRIED, Prober

if TYPE_CHECKING:
    from .service import AxonService

MAX_FORWARD_BODY: Final = 500 << 10
"""Bytes of a request's body: in hex, with the envelope, just below the socket's line of 1 MiB."""

MAX_FORWARD_REPLY: Final = 2 << 20
"""Bytes of a reply, or of all messages of its stream: written as text they hold the peer up for 15 ms."""

MAX_PINGED: Final = 32
"""Hotkeys of one `axon.ping`."""

PING_SECONDS: Final = 20.0
"""Until `axon.ping` answers; a command waits for 30."""

MAX_PINGS: Final = 16
"""At one time."""

LEARN_SECONDS: Final = 6.0
"""How long `axon.find` waits for a record: neighbours are asked every two seconds."""

LEARN_LOOKS: Final = 30

_NETUID: Final = Argument("netuid", ArgumentKind.U16, "subnet")
_PINGED: Final = Argument("hotkeys", ArgumentKind.ACCOUNT, "hotkey to reach")


@dataclass(frozen=True, slots=True)
class AxonParts:
    """What the methods stand on."""

    transport: Transport
    answers: PeerView
    clock: Clock
    discovery: Discovery
    client: AxonClient
    view: ChainView
    made: Callable[[CallResult], None] = lambda result: None
    """Told how each forwarded call ended, for metrics and the order of endpoints."""


def axon_methods(service: AxonService) -> list[Method]:
    """What can be asked of a peer's calls and discovery."""
    peer = service.peer
    parts = AxonParts(
        peer.transport, service.answers, peer.clock, service.discovery, service.client, service.view, service.made
    )
    return AxonMethods(parts).methods()


class AxonMethods:
    """The handlers."""

    def __init__(self, parts: AxonParts) -> None:
        self._parts = parts
        genesis_hash, clock, directory = parts.answers.genesis_hash, parts.clock, parts.discovery.directory
        pool = parts.client.pool
        self._forwarder = Forwarder(
            pool,
            directory,
            genesis_hash,
            parts.transport.local_peer,
            now_ns=lambda: clock.now() * 1000,
            max_reply=MAX_FORWARD_REPLY,
        )
        self._prober = Prober(
            parts.transport,
            NetworkNames.of(genesis_hash),
            directory,
            parts.discovery.latencies,
            random.Random(0),  # only rounds use it
            in_use=pool.uses,
        )

    def methods(self) -> list[Method]:
        """Their registry entries."""
        return [
            Method(
                "axon.status", (), "What is served here, what is known of others, how old the chain is.", self.status
            ),
            Method("axon.services", (_NETUID,), "Service records of a subnet that are known here.", self.services),
            Method(
                "axon.find",
                (
                    _NETUID,
                    Argument("hotkey", ArgumentKind.ACCOUNT, "hotkey to look for"),
                    Argument("uid", ArgumentKind.U16, "or its uid in the subnet"),
                ),
                f"Service records of one hotkey; waits up to {LEARN_SECONDS:.0f} s when none is known yet.",
                self.find,
                optional=("hotkey", "uid"),
            ),
            Method(
                "axon.reach",
                (_NETUID,),
                "Who was reached by how many probers, and the median of the times.",
                self.reach,
            ),
            Method(
                "axon.ping",
                (_NETUID, AnyList("hotkeys", f"SS58 addresses, at most {MAX_PINGED}", MAX_PINGED)),
                "Open a stream to each hotkey's peer and measure how long it takes.",
                self.ping,
            ),
            Method(
                "axon.forward",
                (
                    Argument("envelope", ArgumentKind.BYTES, "signed envelope", MAX_ENVELOPE),
                    Argument("body", ArgumentKind.BYTES, "its body", MAX_FORWARD_BODY),
                ),
                "Send a call that is signed already to its receiver, once, and tell how it ended.",
                self.forward,
            ),
        ]

    # --- what is known ----------------------------------------------------------------------------------------------

    async def status(self) -> Json:
        parts = self._parts
        served = parts.discovery.announcer.services()
        return {
            "blocks_behind": parts.view.blocks_behind(),
            "records": len(parts.discovery.book),
            "reach_reports": len(parts.discovery.reach),
            "served": [
                {
                    "hotkey": encode_address(hotkey),
                    "netuid": netuid,
                    "freshness": parts.view.freshness(netuid).value,
                    "reach": reach_document(parts.discovery.reach.reach(netuid, hotkey, parts.clock.now())),
                }
                for hotkey, netuid in served
            ],
            "shown_addresses": list(parts.discovery.shown_addresses()),
        }

    async def services(self, netuid: int) -> Json:
        uids = await self._uids(netuid)
        discovery, now = self._parts.discovery, self._parts.clock.now()
        discovery.follow(netuid)
        hotkeys = discovery.book.hotkeys(netuid, now)
        reach = discovery.reach.reach_of_all(netuid, hotkeys, now)
        return {
            "netuid": netuid,
            "services": [
                {
                    "hotkey": encode_address(hotkey),
                    "uid": uids.get(hotkey),
                    "reach": reach_document(reach[hotkey]),
                    "records": self._records(netuid, hotkey, now),
                }
                for hotkey in sorted(hotkeys, key=lambda hotkey: (uids.get(hotkey, 1 << 16), hotkey))
            ],
        }

    async def find(self, netuid: int, hotkey: AccountId | None, uid: int | None) -> Json:
        if (hotkey is None) == (uid is None):
            raise ArgumentError("axon.find takes a hotkey or a uid, and not both", remedy="name one of the two")
        uids = await self._uids(netuid)
        if hotkey is None:
            owner = next((who for who, number in uids.items() if number == uid), None)
            if owner is None:
                raise NotFoundError(f"subnet {netuid} has no uid {uid}", remedy=f"it has {len(uids)} neurons")
            hotkey = owner
        discovery = self._parts.discovery
        discovery.follow(netuid)
        for _ in range(LEARN_LOOKS if hotkey in uids else 0):
            if discovery.book.of(netuid, hotkey, self._parts.clock.now()):
                break
            await trio.sleep(LEARN_SECONDS / LEARN_LOOKS)
        now = self._parts.clock.now()
        return {
            "netuid": netuid,
            "hotkey": encode_address(hotkey),
            "uid": uids.get(hotkey),
            "reach": reach_document(discovery.reach.reach(netuid, hotkey, now)),
            "records": self._records(netuid, hotkey, now),
        }

    async def reach(self, netuid: int) -> Json:
        uids = await self._uids(netuid)
        found = self._parts.discovery.reach.reach_of_all(netuid, uids, self._parts.clock.now())
        return {encode_address(hotkey): reach_document(reach) for hotkey, reach in found.items() if reach.probers}

    # --- what is tried ----------------------------------------------------------------------------------------------

    async def ping(self, netuid: int, hotkeys: Sequence[Any]) -> Json:
        accounts = [AccountId(from_json(_PINGED, value)) for value in hotkeys]
        self._parts.discovery.follow(netuid)
        found: dict[AccountId, dict[str, Any]] = {}
        limiter = trio.CapacityLimiter(MAX_PINGS)

        async def one(hotkey: AccountId) -> None:
            async with limiter:
                found[hotkey] = await self._ping(netuid, hotkey)

        with trio.move_on_after(PING_SECONDS):
            async with trio.open_nursery() as nursery:
                for hotkey in dict.fromkeys(accounts):
                    nursery.start_soon(one, hotkey)
        late = ping_document("not reached", text=f"not within {PING_SECONDS:.0f} s")
        return [{"hotkey": encode_address(hotkey), **found.get(hotkey, late)} for hotkey in accounts]

    async def _ping(self, netuid: int, hotkey: AccountId) -> dict[str, Any]:
        endpoints = self._parts.discovery.directory.endpoints(netuid, hotkey)
        local = self._parts.transport.local_peer
        if not endpoints:
            return ping_document("no record", text="nobody has told where it is reached, or not to this peer")
        if all(endpoint.peer == local for endpoint in endpoints):
            return ping_document("here", peer=local, text="this peer serves it itself")
        tried = [endpoint for endpoint in endpoints if endpoint.peer != local][:MAX_TRIED]
        for endpoint in tried:
            seconds = await self._prober.probe(endpoint)
            if seconds is not None:
                return ping_document("reached", peer=endpoint.peer, milliseconds=round(seconds * 1000, 3))
        return ping_document("not reached", peer=tried[0].peer, text=f"none of {len(tried)} peers takes a stream")

    async def forward(self, envelope: bytes, body: bytes) -> Json:
        done = await self._forwarder.forward(envelope, body)
        self._parts.made(done.result)
        return {**result_document(done.result), "messages": [message.hex() for message in done.messages]}

    # --- parts of the answers ---------------------------------------------------------------------------------------

    async def _uids(self, netuid: int) -> dict[AccountId, int]:
        """Uid of every hotkey of the subnet. Raises NotFoundError when there is none of that number."""

        def look(state: State) -> list[AccountId] | None:
            return hotkeys_of(state, netuid) if subnet_exists(state, netuid) else None

        hotkeys = await self._parts.answers.read(look)
        if hotkeys is None:
            raise NotFoundError(f"there is no subnet {netuid}", remedy="see `yumad subnet list`")
        return {hotkey: uid for uid, hotkey in enumerate(hotkeys)}

    def _records(self, netuid: int, hotkey: AccountId, now: Micros) -> list[Json]:
        discovery, transport = self._parts.discovery, self._parts.transport
        connected = transport.connected()
        return [
            record_document(
                held.record,
                now,
                here=held.record.peer == transport.local_peer,
                connected=held.record.peer in connected,
                latency=discovery.latencies.of(held.record.peer),
            )
            for held in discovery.book.of(netuid, hotkey, now)
        ]
