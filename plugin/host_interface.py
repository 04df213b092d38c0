"""What a plugin asks of the peer it runs on, and what the peer asks of it (AXON R24, R26).

`HostClient` is the whole of a plugin's world: a live peer behind a socket (host_client.py), or peers in memory
(testing/swarm.py, `yumad simulate`). A plugin never sees a key, an address or the chain's state itself.
Hotkeys are ss58 text here, as authors write and read them. Bodies are encoded payloads (protocols/axon/payload.py).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

from ..protocols.axon.interfaces import CallReply, CallResult, CallTerms, ServedMethod, Standing

IncomingHandler = Callable[["Incoming"], Awaitable[CallReply]]
"""Answers one call. The host cancels it at the deadline and when the caller goes away; whatever it raises is
HANDLER_ERROR."""

Metagraph = dict[str, Any]
"""`{block, netuid, hotkey, tempo, neurons: [{uid, hotkey, stake, incentive, dividends, permit, reachable, codecs}, …]}`

Shares are floats of 1, stake is in rao, `hotkey` at the top is the plugin's own; `codecs`, if there, are those beyond
the protocol's own."""


class Incoming(Protocol):
    """One admitted call, as it comes to the plugin's process."""

    @property
    def method(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def netuid(self) -> int: ...
    @property
    def caller(self) -> str:
        """ss58."""
        ...

    @property
    def receiver(self) -> str:
        """ss58; the plugin's own hotkey."""
        ...

    @property
    def standing(self) -> Standing: ...
    @property
    def request_id(self) -> bytes: ...
    @property
    def deadline(self) -> float:
        """On trio's clock."""
        ...

    @property
    def codecs(self) -> Sequence[str]:
        """What the caller decodes beyond the codecs of the protocol."""
        ...

    @property
    def body(self) -> bytes | memoryview: ...
    def messages(self) -> AsyncIterator[bytes]:
        """The caller's stream; raises StreamAborted when it is cut."""
        ...

    async def send(self, message: bytes) -> None:
        """One message of the reply's stream; waits for credit."""
        ...


class CallStream(Protocol):
    """One open streaming call, on the caller's side."""

    async def send(self, message: bytes) -> None:
        """One message of the request's stream; waits for credit."""
        ...

    async def end(self) -> None:
        """No more messages will be sent. Once is enough; not needed for a method without `stream_in`."""
        ...

    def messages(self) -> AsyncIterator[bytes]:
        """The reply's stream; raises StreamAborted when it ends without a good trailer."""
        ...

    async def result(self) -> CallResult:
        """How the call ended: after the last message, or the refusal instead of any."""
        ...


class HostClient(Protocol):
    """The peer, as a plugin sees it. No method raises for what another peer does: that is in the result."""

    async def call(self, hotkey: str, method: str, version: int, body: bytes, terms: CallTerms) -> CallResult:
        """Call one miner. A reply that is larger than the terms allow is BAD_REPLY, here and below."""
        ...

    async def call_many(
        self, bodies: Mapping[str, bytes], method: str, version: int, terms: CallTerms
    ) -> list[CallResult]:
        """Call all of them, sent together (R27); one result per hotkey, in the order of the mapping.

        Bodies that are the same object may travel to the host once.
        """
        ...

    def stream(
        self, hotkey: str, method: str, version: int, body: bytes, terms: CallTerms
    ) -> AbstractAsyncContextManager[CallStream]:
        """Open a streaming call, which is never sent again; leaving the block before its end takes it back."""
        ...

    async def metagraph(self) -> Metagraph:
        """The subnet in the peer's final state."""
        ...

    async def query(self, read: str, params: Sequence[Any]) -> Any:
        """Answer of one of the peer's public reads."""
        ...

    async def scores_update(
        self, scores: Mapping[str, float], aggregator: tuple[str, Mapping[str, Any]], round: int
    ) -> None:
        """Scores of one round, which the peer aggregates with a built-in aggregator (protocols/axon/aggregators.py)."""
        ...

    async def scores_load(self, aggregator: tuple[str, Mapping[str, Any]] | None = None) -> list[dict[str, Any]]:
        """Rows `{hotkey, value, state, rounds}` of the score table; state as the aggregator left it.

        With the name and parameters of a custom aggregator: none when another one left them.
        """
        ...

    async def scores_store(
        self, rows: Sequence[Mapping[str, Any]], aggregator: tuple[str, Mapping[str, Any]], round: int
    ) -> None:
        """Replace rows `{hotkey, value, state}`; for aggregators that only the plugin knows.

        Rows that another aggregator left, or one with other parameters, are forgotten.
        """
        ...

    async def blob_put(self, content: Path | bytes, to: Sequence[str] | None) -> bytes:
        """Keep a file or bytes, and offer them to the hotkeys `to`, or to the subnet; the hash. Raises YumadError."""
        ...

    async def blob_get(self, blob_hash: bytes, hotkey: str, max_size: int) -> Path:
        """The file of a blob of at most `max_size` bytes that `hotkey` offers, in the plugin's own folder.

        Raises BlobUnavailable when it cannot be had, YumadError when the peer has no room.
        """
        ...

    async def ready(
        self, subnet: str, version: int, role: str, methods: Sequence[ServedMethod], *, validator: str = ""
    ) -> None:
        """The plugin can take calls from now on."""
        ...

    def set_handler(self, handler: IncomingHandler) -> None:
        """Who answers incoming calls; set before `ready`."""
        ...

    async def log(self, line: str) -> None:
        """A line for the plugin's log, as the peer shows it. Never raises."""
        ...
