"""What the call protocol asks of the rest of a peer, and what it offers, as typing Protocols that `daemon` wires.

`AxonServer` (server.py) is given a `CallerView`, an `Admission` and a `ReplayStore`; what is served is a table of
`ServedMethod`s with one `Handler` per hotkey and subnet. `AxonClient` (client.py) is given a `Directory`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from ...consensus.types import AccountId
from ..transport import PeerId, Stream, StreamHandler
from .policy import Policy
from .status import Status


class CallTransport(Protocol):
    """The part of a `Transport` that calls need."""

    @property
    def local_peer(self) -> PeerId: ...
    def set_stream_handler(self, protocol: str, handler: StreamHandler) -> None: ...
    def remote_address(self, peer: PeerId) -> str | None: ...
    async def dial(self, address: str) -> PeerId: ...
    async def open_stream(self, peer: PeerId, protocol: str, *, timeout: float) -> Stream: ...


class Freshness(Enum):
    """How much the local chain state can be believed, by blocks behind (R23)."""

    FRESH = "fresh"
    DEGRADED = "degraded"
    """Behind, but recent: served as usual, shown in /readyz."""
    KNOWN_ONLY = "known_only"
    """Two tempos behind or more: only callers that were served before."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the final state says of a hotkey in a subnet."""

    uid: int | None
    """None when it is not registered there."""
    permit: bool
    """Validator permit in the current epoch."""
    stake: int
    """Stake weight in the subnet, in the unit of min_stake (rao of alpha and root, YUMA's total stake)."""


class CallerView(Protocol):
    """The chain as admission needs it; answered from memory."""

    def standing(self, netuid: int, hotkey: AccountId) -> Standing: ...

    def freshness(self, netuid: int) -> Freshness: ...


class ReplayStore(Protocol):
    """Request ids that were used (R2). Survives a restart."""

    def seen(self, caller: AccountId, request_id: bytes, created: int) -> bool:
        """Whether it was used before; it is from now on. `created` in ns tells when it may be forgotten."""
        ...


@dataclass(frozen=True, slots=True)
class ServedMethod:
    """One method that a plugin serves, as the daemon needs to know it."""

    name: str
    version: int = 1
    timeout: float = 10.0
    """Seconds a handler may take, if the caller's deadline is not sooner."""
    max_body: int = 16 << 20
    max_reply: int = 16 << 20
    concurrency: int = 16
    """Calls of this method at one time; of one caller one less, unless it is 1."""
    stream_in: bool = False
    stream_out: bool = False
    idempotent: bool = False
    """A call may be sent again even when it may have reached the handler (R8)."""
    policy: Policy = field(default_factory=Policy)


@dataclass(frozen=True, slots=True)
class CallTerms:
    """On what terms a plugin calls, as it tells its host."""

    timeout: float
    """Seconds, for all of the call."""
    idempotent: bool = False
    """It may be sent again even when it may have reached the handler (R8)."""
    max_reply: int = 16 << 20
    """Bytes of a reply that are taken: what the method promises, so that no target makes its caller hold more."""


class Ticket(Protocol):
    """The right to run one call."""

    def release(self, handler_seconds: float | None = None) -> None:
        """The call is over; None when the handler never ran."""
        ...


class CallQueue(Protocol):
    """Who runs next, of the calls that wait for a method (`admission.AdmissionQueue`)."""

    async def enter(
        self, *, key: tuple[int, AccountId, str], caller: AccountId, weight: int, deadline: float, method: ServedMethod
    ) -> Ticket:
        """Wait for a slot. Raises admission.Refused."""
        ...


class CallerQuota(Protocol):
    """Calls per second of each caller (`caller_limiter.CallerLimiter`)."""

    def take(self, caller: AccountId, netuid: int, method: ServedMethod, now: float, receiver: AccountId = ...) -> int:
        """0 when the call may go on, else milliseconds until one may."""
        ...


@dataclass(frozen=True, slots=True)
class Admission:
    """The two gates behind the signature."""

    queue: CallQueue
    quota: CallerQuota


@dataclass(frozen=True, slots=True)
class CallReply:
    """What a handler gives back. OK, or one of SCHEMA_MISMATCH, DENIED, BUSY and HANDLER_ERROR with a text."""

    status: Status = Status.OK
    body: bytes | bytearray | memoryview = b""
    text: str = ""
    retry_after_ms: int = 0


class IncomingCall(Protocol):
    """One admitted call, as a handler sees it."""

    @property
    def method(self) -> ServedMethod: ...
    @property
    def netuid(self) -> int: ...
    @property
    def caller(self) -> AccountId: ...
    @property
    def caller_standing(self) -> Standing: ...
    @property
    def receiver(self) -> AccountId: ...
    @property
    def request_id(self) -> bytes: ...
    @property
    def deadline(self) -> float:
        """On trio's clock."""
        ...

    @property
    def peer(self) -> PeerId:
        """Who sent it: the caller's peer, or a relay."""
        ...

    @property
    def codecs(self) -> Sequence[str]:
        """What the caller decodes beyond the codecs of the protocol (R10)."""
        ...

    @property
    def body(self) -> bytes | memoryview:
        """The request's body, complete and matching its signed hash."""
        ...

    def messages(self) -> AsyncIterator[bytes]:
        """Messages of the caller's stream; raises StreamAborted unless it ends with a good trailer."""
        ...

    async def send(self, message: bytes) -> None:
        """Send one message of the reply's stream; waits for the caller's credit."""
        ...


class Handler(Protocol):
    """Answers calls. Cancelled at the deadline and when the caller goes away; whatever it raises is HANDLER_ERROR."""

    async def __call__(self, call: IncomingCall) -> CallReply: ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a hotkey serves a subnet: one of several peers."""

    peer: PeerId
    addresses: tuple[str, ...]
    """Multiaddrs with `/p2p/`, perhaps through a relay; empty when only a live connection can be used."""


class Directory(Protocol):
    """Where hotkeys are reached (R33, R34)."""

    def endpoints(self, netuid: int, hotkey: AccountId) -> Sequence[Endpoint]:
        """Best first; empty when no record is known."""
        ...


@dataclass(frozen=True, slots=True)
class Latency:
    """Where the time of a call went, in seconds."""

    dial: float = 0.0
    """Until there was a connection and a stream; 0 when both were pooled."""
    queue: float = 0.0
    """Waiting at the server, as it says."""
    network: float = 0.0
    """The rest: total - dial - queue - handler."""
    handler: float = 0.0
    """As the server says."""
    total: float = 0.0


@dataclass(frozen=True, slots=True)
class CallResult:
    """How one call to one target ended. Never an exception for one target (R26)."""

    hotkey: AccountId
    status: Status
    body: bytes = b""
    text: str = ""
    retry_after_ms: int = 0
    latency: Latency = Latency()
    sent_at: float = 0.0
    """trio time at which the request was handed to the network; 0 when it never was."""
    peer: PeerId | None = None
    receipt: bytes = b""
    """Encoded receipt (R5) when the reply was signed; else empty."""

    @property
    def ok(self) -> bool:
        """The handler answered."""
        return self.status is Status.OK


class StreamAborted(Exception):
    """A stream of messages ended without a good trailer: what came is not vouched for."""

    def __init__(self, status: Status, text: str = "") -> None:
        super().__init__(text or status.name.lower())
        self.status = status
