"""Served methods, results and replies as plain maps on the plugin socket (AXON R24; plugin_wire.py has the frames).

Every value is read through `Fields`, which knows what it has read: a field nobody asked for is an error, so that a
plugin cannot believe it said something that was ignored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from ...consensus.types import AccountId, MalformedError
from ..transport import PeerId
from .interfaces import CallReply, CallResult, CallTerms, Latency, ServedMethod
from .policy import Policy, Quota
from .replies import MAX_TEXT
from .status import Status

MAX_BODY: Final = 16 << 20
"""Bytes of one body or reply (R11)."""

MAX_TIMEOUT: Final = 3600.0
"""Seconds; what takes longer is another call."""

MAX_LISTED: Final = 4096
"""Hotkeys in an allow or deny list."""

MAX_AMOUNT: Final = (1 << 64) - 1

_NAME: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_.")


class Fields:
    """Typed access to a map from outside. Every reader raises MalformedError that names the field."""

    def __init__(self, value: object, what: str) -> None:
        if not isinstance(value, dict):
            raise MalformedError(f"{what}: expected a map")
        self._left: dict[Any, Any] = dict(value)
        self._what = what

    def take(self, name: str) -> Any:
        """The field as it is; None when it is absent."""
        return self._left.pop(name, None)

    def text(self, name: str, most: int) -> str:
        """A text of at most `most` characters."""
        value = self.take(name)
        if not isinstance(value, str) or len(value) > most:
            raise self._error(name, f"a text of at most {most} characters")
        return value

    def data(self, name: str, most: int, *, exactly: int | None = None) -> bytes:
        """A byte string."""
        value = self.take(name)
        if not isinstance(value, bytes) or len(value) > most or (exactly is not None and len(value) != exactly):
            raise self._error(name, f"a byte string of {'at most ' if exactly is None else ''}{exactly or most} bytes")
        return value

    def hotkey(self, name: str) -> AccountId:
        """A public key of 32 bytes."""
        return AccountId(self.data(name, 32, exactly=32))

    def whole(self, name: str, least: int, most: int) -> int:
        """A whole number within both bounds."""
        value = self.take(name)
        if type(value) is not int or not least <= value <= most:
            raise self._error(name, f"a whole number from {least} to {most}")
        return value

    def number(self, name: str, least: float, most: float) -> float:
        """A finite number within both bounds."""
        value = self.take(name)
        if type(value) not in (int, float) or not math.isfinite(value) or not least <= value <= most:
            raise self._error(name, f"a number from {least:g} to {most:g}")
        return float(value)

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self.take(name)
        if type(value) is not bool:
            raise self._error(name, "true or false")
        return value

    def items(self, name: str, most: int) -> list[Any]:
        """An array of at most `most` items."""
        value = self.take(name)
        if not isinstance(value, list) or len(value) > most:
            raise self._error(name, f"an array of at most {most} items")
        return value

    def mapping(self, name: str, most: int) -> dict[str, Any]:
        """A map with at most `most` texts as keys."""
        value = self.take(name)
        if not isinstance(value, dict) or len(value) > most or not all(isinstance(key, str) for key in value):
            raise self._error(name, f"a map of at most {most} names")
        return value

    def hotkeys(self, name: str, most: int) -> list[AccountId]:
        """Public keys, each once."""
        found = self.items(name, most)
        if not all(isinstance(item, bytes) and len(item) == 32 for item in found) or len(set(found)) != len(found):
            raise self._error(name, "public keys of 32 bytes, each once")
        return found

    def done(self) -> None:
        """Nothing else may be there."""
        for name in self._left:
            raise MalformedError(f"{self._what}: there is no field {str(name)[:40]!r}")

    def _error(self, name: str, expected: str) -> MalformedError:
        return MalformedError(f"{self._what}: {name} is not {expected}")


def method_document(method: ServedMethod) -> dict[str, Any]:
    """A served method as a map."""
    policy = method.policy
    return {
        "name": method.name,
        "version": method.version,
        "timeout": float(method.timeout),
        "max_body": method.max_body,
        "max_reply": method.max_reply,
        "concurrency": method.concurrency,
        "stream_in": method.stream_in,
        "stream_out": method.stream_out,
        "idempotent": method.idempotent,
        "require_permit": policy.require_permit,
        "min_stake": policy.min_stake,
        "allow": sorted(bytes(account) for account in policy.allow),
        "deny": sorted(bytes(account) for account in policy.deny),
        "rate": float(policy.quota.rate),
        "burst": policy.quota.burst,
    }


def served_method(value: object) -> ServedMethod:
    """Inverse of `method_document`, within the limits of the call protocol. Raises MalformedError."""
    fields = Fields(value, "method")
    name = fields.text("name", 64)
    if not name or not _NAME.issuperset(name):
        raise MalformedError(f"method {name[:64]!r}: a name has small letters, digits, '_' and '.' only")
    method = ServedMethod(
        name=name,
        version=fields.whole("version", 0, 0xFFFF),
        timeout=fields.number("timeout", 0.001, MAX_TIMEOUT),
        max_body=fields.whole("max_body", 0, MAX_BODY),
        max_reply=fields.whole("max_reply", 0, MAX_BODY),
        concurrency=fields.whole("concurrency", 1, 1024),
        stream_in=fields.flag("stream_in"),
        stream_out=fields.flag("stream_out"),
        idempotent=fields.flag("idempotent"),
        policy=Policy(
            require_permit=fields.flag("require_permit"),
            min_stake=fields.whole("min_stake", 0, MAX_AMOUNT),
            allow=frozenset(fields.hotkeys("allow", MAX_LISTED)),
            deny=frozenset(fields.hotkeys("deny", MAX_LISTED)),
            quota=Quota(fields.number("rate", 0.0, 1e6), fields.whole("burst", 0, 1_000_000)),
        ),
    )
    fields.done()
    return method


def terms_document(terms: CallTerms) -> dict[str, Any]:
    """The terms of a call as fields of the request for it."""
    return {"timeout": float(terms.timeout), "idempotent": terms.idempotent, "max_reply": terms.max_reply}


def call_terms(fields: Fields) -> CallTerms:
    """Inverse of `terms_document`, within the limits of the call protocol. Raises MalformedError."""
    return CallTerms(
        fields.number("timeout", 0.0, MAX_TIMEOUT), fields.flag("idempotent"), fields.whole("max_reply", 1, MAX_BODY)
    )


def reply_document(reply: CallReply) -> dict[str, Any]:
    """What a handler gave back, as a map."""
    return {
        "status": int(reply.status),
        "body": bytes(reply.body),
        "text": reply.text[:MAX_TEXT],
        "retry_after_ms": reply.retry_after_ms,
    }


def call_reply(value: object) -> CallReply:
    """Inverse of `reply_document`. Raises MalformedError."""
    fields = Fields(value, "reply")
    reply = CallReply(
        _status(fields),
        fields.data("body", MAX_BODY),
        fields.text("text", MAX_TEXT),
        fields.whole("retry_after_ms", 0, 0xFFFF_FFFF),
    )
    fields.done()
    return reply


def result_document(result: CallResult, now: float) -> dict[str, Any]:
    """The result of a call as a map. The two sides' clocks have no common start: `sent_ago` is seconds before `now`,
    negative when it never was sent."""
    latency = result.latency
    return {
        "hotkey": bytes(result.hotkey),
        "status": int(result.status),
        "body": bytes(result.body),
        "text": result.text[:MAX_TEXT],
        "retry_after_ms": result.retry_after_ms,
        "latency": [latency.dial, latency.queue, latency.network, latency.handler, latency.total],
        "sent_ago": now - result.sent_at if result.sent_at else -1.0,
        "peer": result.peer or "",
        "receipt": bytes(result.receipt),
    }


def call_result(value: object, now: float) -> CallResult:
    """Inverse of `result_document` on the receiver's clock. Raises MalformedError."""
    fields = Fields(value, "result")
    latency = fields.items("latency", 5)
    if len(latency) != 5 or not all(isinstance(part, float | int) for part in latency):
        raise MalformedError("result: latency is not five numbers")
    ago = fields.number("sent_ago", -1.0, 1e9)
    result = CallResult(
        hotkey=fields.hotkey("hotkey"),
        status=_status(fields),
        body=fields.data("body", MAX_BODY),
        text=fields.text("text", MAX_TEXT),
        retry_after_ms=fields.whole("retry_after_ms", 0, 0xFFFF_FFFF),
        latency=Latency(*latency),
        sent_at=now - ago if ago >= 0 else 0.0,
        peer=PeerId(fields.text("peer", 256)) or None,
        receipt=fields.data("receipt", 1 << 20),
    )
    fields.done()
    return result


def _status(fields: Fields) -> Status:
    number = fields.whole("status", 0, 255)
    try:
        return Status(number)
    except ValueError:
        raise MalformedError(f"status {number} is unknown") from None


def plain(value: Any) -> Any:
    """`value` with tuples as lists, keys as text and numpy's scalars as numbers: what CBOR takes as it is."""
    if value is None or type(value) in (bool, int, float, str, bytes):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if hasattr(value, "item"):  # a scalar of numpy
        return plain(value.item())
    raise TypeError(f"{type(value).__name__} cannot go to the peer")
