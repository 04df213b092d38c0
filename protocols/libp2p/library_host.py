"""py-libp2p's host with fenced stream handlers (LIBP2P 8 items 1, 8 and 13).

Protocol table, negotiation, ping and identify are the library's. Changed from outside: whatever an inbound stream makes
its handler raise stays in that stream; names are bounded; a failed or cancelled open leaves no slot behind; nobody is
asked to identify itself, since the answers fill stores that only grow, and identify pushes are not taken.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import trio
from libp2p.abc import INetStream
from libp2p.custom_types import StreamHandlerFn, TProtocol
from libp2p.host.basic_host import BasicHost
from libp2p.host.ping import ID as PING
from libp2p.host.ping import PingService
from libp2p.identity.identify.identify import ID as IDENTIFY
from libp2p.identity.identify.identify import _mk_identify_protobuf
from libp2p.io.exceptions import IOException
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from libp2p.protocol_muxer.exceptions import MultiselectError
from libp2p.stream_muxer.exceptions import MuxedStreamError
from libp2p.utils.varint import encode_varint_prefixed
from multiaddr import Multiaddr

from ..transport import PeerId, StreamClosed, StreamHandler
from .counters import Counters
from .stream import LibraryStream
from .swarm import HardenedSwarm
from .upgrade import NEGOTIATION_TIMEOUT, BoundedCommunicator


class HardenedHost(BasicHost):
    """The library's host over a HardenedSwarm."""

    def __init__(
        self, swarm: HardenedSwarm, counters: Counters, *, agent: str, addresses: Callable[[], Sequence[str]]
    ) -> None:
        self._counters = counters
        self._agent = agent
        protocols: OrderedDict[TProtocol, StreamHandlerFn] = OrderedDict(
            [(TProtocol(IDENTIFY), self._identify), (TProtocol(PING), PingService(self).handle_ping)]
        )
        super().__init__(
            swarm,
            default_protocols=protocols,
            negotiate_timeout=NEGOTIATION_TIMEOUT,
            addrs_factory=lambda candidates: [Multiaddr(address) for address in addresses()],
            disable_identify_address_discovery=True,
        )

    # --- inbound ----------------------------------------------------------------------------------------------------

    def serve(self, protocol: str, handler: StreamHandler) -> None:
        """Serve `protocol` with a handler of the transport's kind."""

        async def adapted(net_stream: INetStream) -> None:
            stream = library_stream(net_stream)
            await handler(stream)
            await stream.close()

        self.set_stream_handler(TProtocol(protocol), adapted)

    async def _swarm_stream_handler(self, net_stream: INetStream) -> None:
        """Find the handler of one inbound stream and run it; whatever happens stays in this stream."""
        stream = library_stream(net_stream)
        served = False
        try:
            handler = await self._named(stream)
            if handler is not None:
                await handler(net_stream)
                served = True
        except (StreamClosed, IOException, MuxedStreamError, trio.TooSlowError):
            self._counters.drop("stream broken by the peer")
        except Exception as error:
            self._counters.fault("stream handler", error)
        finally:
            if served:
                await stream.close()
            else:
                await stream.reset()

    async def _named(self, stream: LibraryStream) -> StreamHandlerFn | None:
        muxer: Any = stream.net_stream.muxed_conn
        handler: StreamHandlerFn | None = None
        try:
            protocol, handler = await self.multiselect.negotiate(
                BoundedCommunicator(stream.net_stream), NEGOTIATION_TIMEOUT
            )
            if protocol is not None:
                stream.net_stream.set_protocol(protocol)
        except (MultiselectError, IOException, MuxedStreamError):
            handler = None
        finally:
            muxer.unnamed_streams -= 1
        if handler is None:
            self._counters.drop("stream without a protocol")
        return handler

    async def _identify(self, net_stream: INetStream) -> None:
        answer = _mk_identify_protobuf(self, None)
        answer.agent_version = self._agent
        await net_stream.write(encode_varint_prefixed(answer.SerializeToString()))

    # --- outbound ---------------------------------------------------------------------------------------------------

    async def new_stream(self, peer_id: ID, protocol_ids: Sequence[TProtocol]) -> INetStream:
        """Open a stream and agree on one of the protocols. Raises SwarmException, and frees the slot whatever happens.

        SwarmException for every failure, since that is what the library's gossip tries again after.
        """
        net_stream = await self._network.new_stream(peer_id)
        agreed = False
        try:
            protocol = await self.multiselect_client.select_one_of(
                protocol_ids, BoundedCommunicator(net_stream), NEGOTIATION_TIMEOUT
            )
            net_stream.set_protocol(protocol)
            agreed = True
            return net_stream
        except Exception as error:
            raise SwarmException(f"no stream for {protocol_ids[0]}: {error}") from error
        finally:
            if not agreed:
                await library_stream(net_stream).reset()

    # --- what the library's host does by itself, and this one does not ----------------------------------------------

    def _schedule_identify(self, peer_id: ID, *, reason: str) -> None:
        return

    async def _push_identify_to_all_peers(self) -> None:
        return


def library_stream(net_stream: INetStream) -> LibraryStream:
    """The transport's view of a stream of the library's."""
    return LibraryStream(net_stream, PeerId(net_stream.muxed_conn.peer_id.to_base58()))
