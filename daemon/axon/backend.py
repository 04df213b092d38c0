"""What plugins get from the call service: `PluginBackend` over an `AxonService` (AXON R24, R26, R28).

Each method is told for whom it works; the host knows that from the token, so a plugin acts for its own hotkey only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import trio

from ...consensus.rules.v1.reads import READS
from ...consensus.ss58 import encode_address
from ...consensus.state.state import State
from ...consensus.types import AccountId, InvalidError
from ...protocols.axon.client import MAX_ATTEMPTS
from ...protocols.axon.client_stream import ClientStream
from ...protocols.axon.interfaces import CallResult, CallTerms, Handler, ServedMethod, StreamAborted
from ...protocols.axon.payload_scan import decode_plain, encode_plain
from ...protocols.axon.status import Status
from ...protocols.limits import Quota
from ...protocols.token_bucket import TokenBucket
from ...storage.score_rows import ScoreKey
from ..arguments import from_json, shown_answer
from ..plugins.backend import OpenCall, PluginBackend, PluginIdentity, PluginRegistration
from .fan_out import FanOutNotice
from .served_place import ServedPlace
from .service import AxonService

SHARE: Final = 65_535
"""Incentive and dividends on the chain are parts of this."""

READS_OF_PLUGIN: Final = Quota(200, 2)
"""Reads of the chain by one plugin; what is above waits. A validator needs a few in a round."""

MECHANISM: Final = 0
"""Plugins score the first mechanism of a subnet."""


class ServiceBackend:
    """See the module text."""

    def __init__(self, service: AxonService, fan_out: FanOutNotice | None = None) -> None:
        self._service = service
        self._fan_out = fan_out
        self._graphs: dict[int, tuple[int, dict[str, Any]]] = {}
        """Metagraphs by subnet, with the final height they are of."""
        self._reading: dict[str, _Reading] = {}
        """By plugin."""
        self._present: dict[str, tuple[PluginIdentity, int]] = {}
        """Plugins that are run, by name, with the version of their code; 0 before it is known."""

    # --- being there ------------------------------------------------------------------------------------------------

    def enlist(self, who: PluginIdentity) -> None:
        """A plugin of this hotkey is run from now on: know its subnet, and look after its weights if it scores."""
        service = self._service
        self._present[who.name] = who, 0
        service.hotkeys[who.hotkey] = who.key
        service.discovery.follow(who.netuid)
        if "validator" in who.roles and service.keeping.scheduler.status(who.hotkey, who.netuid) is None:
            service.nursery.start_soon(self._look_after, who)

    async def _look_after(self, who: PluginIdentity) -> None:
        scheduler = self._service.keeping.scheduler
        await self._service.keeping.scores.load(_key(who))
        present, version = self._present.get(who.name, (None, 0))
        if present is who:
            await scheduler.add(who.key, who.netuid, version_key=version)
            if self._present.get(who.name, (None, 0))[0] is not who:  # stopped meanwhile
                scheduler.remove(who.hotkey, who.netuid)

    def set_version(self, who: PluginIdentity, version: int) -> None:
        """The version of a validator's code, which its weights carry as their version key."""
        self._present[who.name] = who, version
        if "validator" in who.roles:
            self._service.nursery.start_soon(self._look_after, who)

    def dismiss(self, who: PluginIdentity) -> None:
        """It is not run any more. What was committed stays sealed and is revealed when it comes back in time.

        Its key signs nothing from here on, and its subnet is not measured, unless another plugin needs them.
        """
        service = self._service
        service.blobs.withdraw_all(who.name)
        if "validator" in who.roles:
            service.keeping.scheduler.remove(who.hotkey, who.netuid)
        self._present.pop(who.name, None)
        self._reading.pop(who.name, None)
        others = [other for other, _ in self._present.values()]
        if all(other.hotkey != who.hotkey for other in others):
            service.hotkeys.pop(who.hotkey, None)
        if all(other.netuid != who.netuid for other in others):
            service.discovery.unfollow(who.netuid)
            service.view.unwatch(who.netuid)
            self._graphs.pop(who.netuid, None)

    def register(self, who: PluginIdentity, methods: Sequence[ServedMethod], handler: Handler) -> PluginRegistration:
        """Serve and announce the methods once the subnet's table of callers is there."""
        return ServedPlace(self._service, who.key, who.netuid, methods, handler, sealed=who.sealed)

    # --- calling ----------------------------------------------------------------------------------------------------

    async def call(
        self, who: PluginIdentity, target: AccountId, method: str, version: int, body: bytes, terms: CallTerms
    ) -> CallResult:
        """One call; what the target does is in the result."""
        result = await self._service.client.call(
            who.key,
            who.netuid,
            target,
            method,
            body,
            version=version,
            timeout=terms.timeout,
            idempotent=terms.idempotent,
            max_reply=terms.max_reply,
        )
        self._service.made(result)
        return result

    async def call_many(
        self, who: PluginIdentity, bodies: Mapping[AccountId, bytes], method: str, version: int, terms: CallTerms
    ) -> Sequence[CallResult]:
        """One result per target, in the mapping's order, all sent together."""
        if self._fan_out is not None and "validator" in who.roles:
            self._fan_out.calling(who.name, len(bodies))
        results = await self._service.client.call_many(
            who.key,
            who.netuid,
            bodies,
            method,
            version=version,
            timeout=terms.timeout,
            idempotent=terms.idempotent,
            max_reply=terms.max_reply,
        )
        for result in results:
            self._service.made(result)
        return results

    @asynccontextmanager
    async def stream(
        self, who: PluginIdentity, target: AccountId, method: str, version: int, body: bytes, terms: CallTerms
    ) -> AsyncIterator[OpenCall]:
        """A call with messages, in the directions that the target's record offers. Raises StreamAborted."""
        stream_in, stream_out = self._directions(who.netuid, target, method, version)
        try:
            async with self._service.client.stream(
                who.key,
                who.netuid,
                target,
                method,
                body,
                version=version,
                timeout=terms.timeout,
                stream_in=stream_in,
                stream_out=stream_out,
                max_reply=terms.max_reply,
            ) as opened:
                yield _Opened(opened)
        except StreamAborted as error:
            if error.status is Status.DIAL_FAILED:
                paced = self._service.paced
                for endpoint in paced.endpoints(who.netuid, target)[:MAX_ATTEMPTS]:
                    paced.failed(endpoint.peer)
            raise

    def _directions(self, netuid: int, target: AccountId, method: str, version: int) -> tuple[bool, bool]:
        for held in self._service.discovery.book.of(netuid, target, self._service.peer.clock.now()):
            for offered in held.record.methods:
                if (offered.name, offered.version) == (method, version):
                    return offered.stream_in, offered.stream_out
        return False, True  # the server says what is wrong with it

    def _codecs(self, netuid: int, target: AccountId) -> list[str]:
        """What all peers of a hotkey decode beyond the protocol's own: a call may go to any of them."""
        held = self._service.discovery.book.of(netuid, target, self._service.peer.clock.now())
        return sorted(set.intersection(*[set(one.record.codecs) for one in held])) if held else []

    # --- the chain --------------------------------------------------------------------------------------------------

    async def metagraph(self, who: PluginIdentity) -> Mapping[str, Any]:
        """The subnet at the newest final block; who can be reached is looked up for each answer."""
        async with self._turn(who):
            height, graph = self._graphs.get(who.netuid, (-1, {}))
            if height != self._service.view.height or not graph:
                graph = await self._service.answers.read(partial(_graph, netuid=who.netuid))
                self._graphs[who.netuid] = (graph["block"], graph)
        endpoints = self._service.discovery.directory.endpoints
        neurons = [{**n, "reachable": bool(endpoints(who.netuid, n["account"]))} for n in graph["neurons"]]
        for neuron in neurons:
            account = neuron.pop("account")
            if neuron["reachable"] and (codecs := self._codecs(who.netuid, account)):
                neuron["codecs"] = codecs
        return {**graph, "hotkey": encode_address(who.hotkey), "neurons": neurons}

    async def query(self, who: PluginIdentity, read: str, params: Sequence[Any]) -> Any:
        """Any read of the final state. Raises InvalidError for one that is not there."""
        known = READS.get(read)
        if known is None or len(params) != len(known.arguments):
            raise InvalidError(f"there is no read {read[:60]!r} with {len(params)} parameters")
        values = [from_json(argument, value) for argument, value in zip(known.arguments, params, strict=True)]
        async with self._turn(who):
            answer = await self._service.answers.read(lambda state: known.answer(state, *values))
        return shown_answer(answer, read)

    @asynccontextmanager
    async def _turn(self, who: PluginIdentity) -> AsyncIterator[None]:
        """One read of a plugin at a time, and not too many: they go through the lane in which blocks are executed."""
        reading = self._reading.setdefault(who.name, _Reading())
        async with reading.lock:
            await trio.sleep(reading.bucket.wait(1, trio.current_time()))
            reading.bucket.take(1, trio.current_time())
            yield

    # --- scores -----------------------------------------------------------------------------------------------------

    async def scores_update(
        self,
        who: PluginIdentity,
        scores: Mapping[AccountId, float],
        aggregator: str,
        params: Mapping[str, Any],
        round: int,
    ) -> None:
        """One round by a built-in aggregator."""
        height = self._service.view.height
        await self._service.keeping.scores.update(_key(who), scores, (aggregator, params), height, round)
        self._service.keeping.scheduler.block_final()

    async def scores_load(
        self, who: PluginIdentity, aggregator: tuple[str, Mapping[str, Any]] | None
    ) -> Sequence[Mapping[str, Any]]:
        """The table as it was left, by that aggregator of the plugin's own if one is given."""
        scores = self._service.keeping.scores
        table = await (scores.load(_key(who)) if aggregator is None else scores.load_custom(_key(who), aggregator))
        return [
            {"hotkey": bytes(hotkey), "value": row.value, "state": decode_plain(row.state), "rounds": row.rounds}
            for hotkey, row in table.rows.items()
        ]

    async def scores_store(
        self,
        who: PluginIdentity,
        rows: Sequence[Mapping[str, Any]],
        aggregator: str,
        params: Mapping[str, Any],
        round: int,
    ) -> None:
        """Rows of an aggregator that the plugin computes itself."""
        given = {AccountId(row["hotkey"]): (float(row["value"]), encode_plain(row["state"])) for row in rows}
        height = self._service.view.height
        await self._service.keeping.scores.store(_key(who), given, (aggregator, params), height, round)
        self._service.keeping.scheduler.block_final()

    # --- large content ----------------------------------------------------------------------------------------------

    async def blob_put(self, who: PluginIdentity, content: BinaryIO, to: Collection[AccountId] | None) -> bytes:
        """Keep and offer an open file."""
        return await self._service.blobs.put(who, content, to)

    async def blob_get(
        self, who: PluginIdentity, blob_hash: bytes, target: AccountId, max_size: int, place: Callable[[Path], Path]
    ) -> Path:
        """Fetch and place a blob. Raises BlobUnavailable."""
        return await self._service.blobs.fetch(who, blob_hash, target, max_size, place)


class _Reading:
    """The reads of one plugin."""

    def __init__(self) -> None:
        self.lock = trio.Lock()
        self.bucket = TokenBucket(READS_OF_PLUGIN, trio.current_time())


class _Opened:
    """An open stream in the form that the plugin socket speaks."""

    def __init__(self, stream: ClientStream) -> None:
        self._stream = stream
        self.send = stream.send
        self.end = stream.end
        self.result = stream.result

    def messages(self) -> AsyncIterator[bytes]:
        """Raises StreamAborted when the reply's stream is cut."""
        return aiter(self._stream)


def _key(who: PluginIdentity) -> ScoreKey:
    return ScoreKey(who.netuid, MECHANISM, who.hotkey)


def _graph(state: State, netuid: int) -> dict[str, Any]:
    """A `Metagraph` of plugin/host_interface.py, with accounts instead of what is known of their reach."""
    answer: Any = READS["metagraph"].answer(state, netuid)
    return {
        "block": answer["height"],
        "netuid": netuid,
        "tempo": answer["tempo"],
        "neurons": [
            {
                "uid": neuron["uid"],
                "hotkey": encode_address(neuron["hotkey"]),
                "account": AccountId(neuron["hotkey"]),
                "stake": neuron["total_stake"],
                "incentive": neuron["incentive"][MECHANISM] / SHARE,
                "dividends": neuron["dividends"] / SHARE,
                "permit": neuron["permit"],
            }
            for neuron in answer["members"]
        ],
    }


if TYPE_CHECKING:

    def _keeps_the_contract(backend: ServiceBackend) -> PluginBackend:
        return backend
