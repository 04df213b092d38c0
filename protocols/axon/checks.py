"""What a call must pass before it may wait for a handler, in the order of AXON R6, cheapest first.

Everything here is synchronous and answered from memory. A refusal before the signature is verified is not signed, so
strangers cannot make this peer sign.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import trio

from ...consensus.signature import verify
from ...consensus.types import AccountId, Hash32, MalformedError
from .admission import Refused
from .body_budget import ReplyBudget, RequestBudget
from .envelope import (
    SIGNATURE_BYTES,
    VERSION,
    Envelope,
    Flag,
    decode_envelope,
    envelope_digest,
    envelope_network,
    envelope_version,
)
from .frames import FIRST_PART
from .interfaces import Admission, CallerView, ReplayStore, ServedMethod, Standing
from .limits import WINDOW_AHEAD_NS, WINDOW_BACK_NS, AxonLimits, KnockLimiter
from .policy import Policy
from .policy_check import judge
from .registrations import Registration, ServedTable
from .status import Status

MAX_KNOWN: Final = 8192
"""Callers remembered as served, for the time when the chain state is too old to ask (R23). In memory only: a peer that
starts far behind serves nobody until it has caught up."""

_DEFAULT_POLICY: Final = Policy()


@dataclass(slots=True)
class ServerContext:
    """What every stream of a server shares."""

    genesis_hash: Hash32
    view: CallerView
    admission: Admission
    replay: ReplayStore
    now_ns: Callable[[], int]
    limits: AxonLimits
    not_before_ns: int
    knocks: KnockLimiter
    places: dict[tuple[int, AccountId], Registration] = field(default_factory=dict)
    known: OrderedDict[tuple[int, AccountId], None] = field(default_factory=OrderedDict)
    open_streams: dict[AccountId, int] = field(default_factory=dict)
    """Streams of messages per caller."""
    requests: RequestBudget = field(init=False)
    replies: ReplyBudget = field(init=False)

    def __post_init__(self) -> None:
        self.requests = RequestBudget(self.limits.held_requests)
        self.replies = ReplyBudget(self.limits.held_replies)

    def was_served(self, netuid: int, caller: AccountId) -> None:
        """Remember a caller that reached a handler."""
        self.known[netuid, caller] = None
        self.known.move_to_end((netuid, caller))
        if len(self.known) > MAX_KNOWN:
            self.known.popitem(last=False)


class CallRefused(Refused):
    """A refusal, with what is known of the call by then."""

    def __init__(
        self,
        status: Status,
        text: str = "",
        retry_after_ms: int = 0,
        *,
        envelope: Envelope | None = None,
        signer: Registration | None = None,
    ) -> None:
        super().__init__(status, text, retry_after_ms)
        self.envelope = envelope
        """None when it could not be read."""
        self.signer = signer
        """Signs the refusal; None before the caller's signature was verified."""


@dataclass(frozen=True, slots=True)
class CheckedCall:
    """A call that may wait for its handler."""

    envelope: Envelope
    request: Hash32
    """The envelope's digest."""
    registration: Registration
    table: ServedTable
    method: ServedMethod
    standing: Standing
    deadline: float
    """The caller's, on trio's clock."""


def check_call(context: ServerContext, data: bytes, certified: Mapping[AccountId, int]) -> CheckedCall:
    """Judge one envelope as it arrives. Raises CallRefused.

    A call that passes has room for the first part of its body (`ServerContext.requests`); `ServerCall` gives it back.

    certified: hotkeys that have certified this stream's peer, with the certificate's expiry in ns.
    """
    envelope = _parse(context, data)
    now = context.now_ns()
    _check_time(context, envelope, now)
    registration = context.places.get((envelope.netuid, envelope.receiver))
    if registration is None:
        raise CallRefused(
            Status.WRONG_RECEIVER, f"that hotkey serves nothing of subnet {envelope.netuid} here", envelope=envelope
        )
    table = registration.table
    versions = table.methods.get(envelope.method)
    method = None if versions is None else versions.get(envelope.method_version)
    policy = _DEFAULT_POLICY
    if method is not None:
        policy = method.policy
    elif versions:
        policy = next(iter(versions.values())).policy
    caller, netuid = envelope.caller, envelope.netuid
    standing = context.view.standing(netuid, caller)
    verdict = judge(policy, caller, standing, context.view.freshness(netuid), (netuid, caller) in context.known, netuid)
    if verdict is not None:
        raise CallRefused(*verdict, envelope=envelope)
    request = envelope_digest(context.genesis_hash, data[:-SIGNATURE_BYTES])
    _check_signature(context, envelope, request, certified, now)
    # From here on the caller is known, and may have our signature.
    if context.replay.seen(caller, envelope.request_id, envelope.created):
        raise CallRefused(
            Status.REPLAY, "this request id was used before; sign again", envelope=envelope, signer=registration
        )
    try:
        method = _check_method(context, envelope, versions)
    except Refused as refusal:
        raise CallRefused(refusal.status, refusal.text, envelope=envelope, signer=registration) from None
    wait = context.admission.quota.take(caller, netuid, method, trio.current_time(), registration.hotkey)
    if wait:
        raise CallRefused(
            Status.RATE_LIMITED, "over the caller's quota for this method", wait, envelope=envelope, signer=registration
        )
    if not context.requests.take(caller, min(envelope.body_length, FIRST_PART)):
        raise CallRefused(
            Status.BUSY,
            "no room for bodies",
            round(context.limits.room_seconds * 1000),
            envelope=envelope,
            signer=registration,
        )
    left = min((envelope.deadline - now) / 1e9, context.limits.max_deadline)
    return CheckedCall(envelope, request, registration, table, method, standing, trio.current_time() + left)


def _parse(context: ServerContext, data: bytes) -> Envelope:
    if envelope_version(data) != VERSION:
        raise CallRefused(
            Status.UNSUPPORTED_VERSION, f"envelope version {envelope_version(data)}, this peer knows {VERSION}"
        )
    if envelope_network(data) != context.genesis_hash[:4]:
        raise CallRefused(Status.WRONG_RECEIVER, f"this peer is on network {context.genesis_hash[:4].hex()}")
    try:
        return decode_envelope(data, context.genesis_hash)
    except MalformedError as error:
        raise CallRefused(Status.MALFORMED, error.message) from None


def _check_time(context: ServerContext, envelope: Envelope, now: int) -> None:
    age = now - envelope.created
    if not -WINDOW_AHEAD_NS <= age <= WINDOW_BACK_NS:
        raise CallRefused(
            Status.STALE, f"made {age / 1e9:.1f} s before it arrived, by this peer's clock", envelope=envelope
        )
    if envelope.deadline <= now:
        raise CallRefused(Status.STALE, "past its own deadline on arrival", envelope=envelope)
    if envelope.created < context.not_before_ns:
        wait = max(1, (context.not_before_ns - now) // 1_000_000)
        raise CallRefused(
            Status.BUSY, "started a moment ago, and cannot tell older calls from replays", wait, envelope=envelope
        )


def _check_signature(
    context: ServerContext, envelope: Envelope, request: Hash32, certified: Mapping[AccountId, int], now: int
) -> None:
    if envelope.flags & Flag.CHANNEL:
        if context.limits.allow_channel and certified.get(envelope.caller, 0) > now:
            return
        reason = "no valid certificate was sent" if context.limits.allow_channel else "this peer wants signed calls"
        raise CallRefused(Status.BAD_SIGNATURE, reason, envelope=envelope)
    if not verify(envelope.caller, request, envelope.signature):
        raise CallRefused(Status.BAD_SIGNATURE, "the caller did not sign this", envelope=envelope)


def _check_method(
    context: ServerContext, envelope: Envelope, versions: Mapping[int, ServedMethod] | None
) -> ServedMethod:
    if versions is None:
        raise Refused(Status.UNKNOWN_METHOD, f"no method {envelope.method} on subnet {envelope.netuid}")
    method = versions.get(envelope.method_version)
    if method is None:
        known = ", ".join(map(str, sorted(versions)))
        raise Refused(
            Status.UNSUPPORTED_VERSION, f"{envelope.method} version {envelope.method_version}; served: {known}"
        )
    most = min(method.max_body, context.limits.max_body)
    if envelope.body_length > most:
        raise Refused(Status.TOO_LARGE, f"body of {envelope.body_length} bytes, at most {most} allowed")
    streams = (Flag.STREAM_IN if method.stream_in else 0) | (Flag.STREAM_OUT if method.stream_out else 0)
    if envelope.flags & (Flag.STREAM_IN | Flag.STREAM_OUT) != streams:
        raise Refused(Status.SCHEMA_MISMATCH, f"{envelope.method} {_describe(streams)}")
    if streams and context.open_streams.get(envelope.caller, 0) >= context.limits.streams_per_caller:
        raise Refused(Status.RATE_LIMITED, f"{context.limits.streams_per_caller} streams of this caller are open")
    return method


def _describe(streams: int) -> str:
    if streams == Flag.STREAM_IN | Flag.STREAM_OUT:
        return "streams in both directions"
    return {0: "does not stream", Flag.STREAM_IN: "takes a stream", Flag.STREAM_OUT: "answers with a stream"}[streams]
