"""Large content of plugins: kept in one folder per peer, offered to other hotkeys, fetched from them (AXON R11).

A plugin puts a file, which is offered for an hour to the members of its subnet, or to the hotkeys it names; others
fetch it by its hash from the peers of the hotkey that told them of it. What is in the folder already is not fetched
again. Nothing here outlives the process but the folder itself, whose oldest files make room for new ones.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

import trio

from ...consensus.types import AccountId, Hash32, YumadError
from ...protocols.axon.blob_sources import BlobSources
from ...protocols.axon.blob_store_interface import CHUNK, BlobList, decode_blob_list, list_of
from ...protocols.axon.blob_transfer import BlobUnavailable, FetchReport, fetch_blob
from ...protocols.axon.blobs import BlobServer, Offer
from ...protocols.axon.certificate import certified_hotkey, issue_certificate
from ...protocols.axon.interfaces import CallReply, CallTransport, Directory, Endpoint, Handler, IncomingCall
from ...protocols.peer_ledger import Offence
from ...protocols.penalties import Penalties
from ...protocols.transport import PeerId
from ...storage.blobs import BlobFolder
from ..plugins.backend import PluginIdentity
from .registrations import ChainFacts

FOLDER: Final = "blobs"
"""In the folder of the peer's calls."""

FOLDER_CAP: Final = 4 << 30
"""Bytes of all blobs of a peer: four of the largest that plugins fetch unless they ask for more."""

OFFER_SECONDS: Final = 3600.0
"""How long a blob is on offer after it was put; putting it again begins anew."""

MAX_OFFERED: Final = 2 << 30
"""Bytes that one plugin has on offer: half of the folder, so that there is room to fetch."""

MAX_OFFERS: Final = 512
"""Blobs that one plugin has on offer."""

PLUGIN_FETCHES: Final = 4
"""Fetches of one plugin at one time; others wait."""

PEER_FETCHES: Final = 8
"""Fetches of all plugins at one time: 8 MiB of memory each."""

MAX_HEARD: Final = 4096
"""Callers whose peer is remembered; who has not called for longest goes first."""

Place = Callable[[Path], Path]
"""Takes a complete blob to where the plugin may read it, in a worker thread; gives the new path."""


class BlobQuotaError(YumadError):
    """A plugin offers as much as it may."""

    code = "blob_quota"


@dataclass(frozen=True, slots=True)
class _Offered:
    """One blob on offer by one plugin."""

    size: int
    expires: float
    """On trio's clock."""
    netuid: int
    to: frozenset[AccountId] | None
    """None: the members of the subnet, as they are when somebody asks."""


@dataclass(frozen=True, slots=True)
class _Audience:
    """All who may fetch one blob, through whichever plugin."""

    chain: ChainFacts
    offers: dict[str, _Offered] = field(default_factory=dict)
    """By name of the plugin."""

    def __contains__(self, hotkey: object) -> bool:
        now = trio.current_time()
        return isinstance(hotkey, bytes) and any(
            self.chain.registered(offer.netuid, AccountId(hotkey)) if offer.to is None else hotkey in offer.to
            for offer in self.offers.values()
            if offer.expires > now
        )


class PeerBlobs:
    """See the module text. One per peer; needs no task of its own."""

    def __init__(
        self,
        folder: Path,
        transport: CallTransport,
        protocol: str,
        genesis_hash: Hash32,
        directory: Directory,
        chain: ChainFacts,
        penalties: Penalties,
        *,
        now_ns: Callable[[], int],
        cap: int = FOLDER_CAP,
    ) -> None:
        """Serves `protocol` from now on. Raises StorageError when the folder cannot be used."""
        self.folder: BlobFolder[BlobList] = BlobFolder(
            folder, chunk=CHUNK, decode_list=decode_blob_list, make_list=list_of, cap=cap
        )
        self._transport, self._protocol, self._genesis_hash = transport, protocol, genesis_hash
        self._directory, self._chain, self._penalties, self._now_ns = directory, chain, penalties, now_ns
        self.server = BlobServer(
            transport,
            protocol,
            self.folder,
            hotkey_of=lambda peer, data: certified_hotkey(data, genesis_hash, peer, now_ns()),
        )
        self.server.register()
        self._heard: OrderedDict[AccountId, PeerId] = OrderedDict()
        self._offered: dict[bytes, _Audience] = {}
        self._putting = trio.Lock()
        self._running: dict[bytes, trio.Event] = {}
        self._transfers = trio.Semaphore(PEER_FETCHES)
        self._slots: dict[str, trio.Semaphore] = {}

    # --- offering ---------------------------------------------------------------------------------------------------

    async def put(self, who: PluginIdentity, content: BinaryIO, to: Collection[AccountId] | None) -> bytes:
        """Keep a copy of an open file, which is closed then, and offer it; its hash.

        `to`: hotkeys; None for all members of the plugin's subnet. Raises BlobQuotaError, StorageError.
        """
        with content:
            size = os.fstat(content.fileno()).st_size
            if size > MAX_OFFERED:
                raise _over_quota(f"a file of {size} bytes")
            async with self._putting:
                blob_hash = await trio.to_thread.run_sync(self.folder.add, content)
                self._offer(who, blob_hash, size, None if to is None else frozenset(to))
        return blob_hash

    def _offer(self, who: PluginIdentity, blob_hash: bytes, size: int, to: frozenset[AccountId] | None) -> None:
        now = trio.current_time()
        self._forget_expired(now)
        others = [
            audience.offers[who.name]
            for other, audience in self._offered.items()
            if other != blob_hash and who.name in audience.offers
        ]
        taken = sum(offer.size for offer in others)
        if len(others) >= MAX_OFFERS or taken + size > MAX_OFFERED:
            first = min(offer.expires for offer in others) - now
            raise _over_quota(f"{len(others)} blobs of {taken} bytes, the first for {first:.0f} s more")
        audience = self._offered.setdefault(blob_hash, _Audience(self._chain))
        audience.offers[who.name] = _Offered(size, now + OFFER_SECONDS, who.netuid, to)
        self.server.offer(blob_hash, Offer(now + OFFER_SECONDS, hotkeys=audience))

    def withdraw_all(self, plugin: str) -> None:
        """End the offers of a plugin."""
        for audience in self._offered.values():
            audience.offers.pop(plugin, None)
        self._forget_expired(trio.current_time())

    def _forget_expired(self, now: float) -> None:
        for blob_hash, audience in list(self._offered.items()):
            for plugin in [name for name, offer in audience.offers.items() if offer.expires <= now]:
                del audience.offers[plugin]
            if not audience.offers:
                del self._offered[blob_hash]
                self.server.withdraw(blob_hash)

    # --- fetching ---------------------------------------------------------------------------------------------------

    def noting(self, handler: Handler) -> Handler:
        """The same handler, with its callers' peers remembered: a validator has no record, and its files are where
        its call came from."""

        async def noted(call: IncomingCall) -> CallReply:
            self._heard[call.caller] = call.peer
            self._heard.move_to_end(call.caller)
            if len(self._heard) > MAX_HEARD:
                self._heard.popitem(last=False)
            return await handler(call)

        return noted

    def _endpoints(self, netuid: int, target: AccountId) -> list[Endpoint]:
        endpoints = list(self._directory.endpoints(netuid, target))
        heard = self._heard.get(target)
        if heard is not None and heard not in [endpoint.peer for endpoint in endpoints]:
            endpoints.append(Endpoint(heard, ()))
        return endpoints

    async def fetch(
        self, who: PluginIdentity, blob_hash: bytes, target: AccountId, max_size: int, place: Place
    ) -> Path:
        """Where `place` put the blob, which came from the peers of `target` unless it was here.

        A fetch of the same blob that is under way is joined. Raises BlobUnavailable, StorageError, and what `place`
        raises.
        """
        async with self._slots.setdefault(who.name, trio.Semaphore(PLUGIN_FETCHES)):
            self.folder.hold(blob_hash)  # until it is placed, also against other fetches that need room
            try:
                while True:
                    path = await trio.to_thread.run_sync(self.folder.path, blob_hash)
                    if path is not None:
                        return await trio.to_thread.run_sync(_place, place, path, max_size)
                    running = self._running.get(blob_hash)
                    if running is not None:
                        await running.wait()  # when it failed, ours goes on with what came
                    else:
                        await self._transfer(who, blob_hash, target, max_size)
            finally:
                self.folder.release(blob_hash)

    async def _transfer(self, who: PluginIdentity, blob_hash: bytes, target: AccountId, max_size: int) -> None:
        ended = self._running[blob_hash] = trio.Event()
        report = FetchReport()
        try:
            endpoints = self._endpoints(who.netuid, target)
            if not endpoints:
                raise BlobUnavailable("nobody has told where this hotkey is reached", remedy="try again later")
            certificate = issue_certificate(
                who.key, self._genesis_hash, self._transport.local_peer, issued=self._now_ns()
            )
            sources = BlobSources(self._transport, endpoints, certificate.encode())
            async with self._transfers:
                await fetch_blob(
                    sources, self._protocol, sources.peers, blob_hash, self.folder, max_size=max_size, report=report
                )
        finally:
            del self._running[blob_hash]
            ended.set()
            for peer in report.lied:
                self._penalties.offend(peer, Offence.BAD_REPLY)


def _place(place: Place, path: Path, max_size: int) -> Path:
    size = path.stat().st_size
    if size > max_size:
        raise BlobUnavailable(
            f"the blob has {size} bytes, at most {max_size} are wanted",
            remedy="raise the limit if so much is meant to be fetched",
        )
    return place(path)


def _over_quota(what: str) -> BlobQuotaError:
    return BlobQuotaError(
        f"the plugin offers {what}; at most {MAX_OFFERS} blobs of {MAX_OFFERED} bytes together are allowed",
        remedy=f"offer less within {OFFER_SECONDS / 3600:g} h",
    )
