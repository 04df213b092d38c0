"""The one table of call outcomes (AXON section 1 "ours should use", R7).

Numbers are grouped so that a caller can act: 1x the caller's fault, 2x refused, 3x the handler, 4x local or network;
those of the last group never travel.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Final


class Status(IntEnum):
    """How a call ended."""

    OK = 0

    MALFORMED = 10
    """The envelope, a frame or the body does not decode."""
    UNKNOWN_METHOD = 11
    TOO_LARGE = 12
    """Body or stream above the method's limit."""
    SCHEMA_MISMATCH = 13
    """A required field is missing, or a value has another type."""
    UNSUPPORTED_VERSION = 14
    """Of the protocol or of the method."""

    BAD_SIGNATURE = 20
    STALE = 21
    """Created outside the replay window, or past its deadline on arrival."""
    REPLAY = 22
    """This caller used the request id before."""
    WRONG_RECEIVER = 23
    """Another hotkey, subnet or network is meant."""
    NOT_REGISTERED = 24
    NO_PERMIT = 25
    LOW_STAKE = 26
    """The text names the stake that is missing."""
    DENIED = 27
    """By the author's deny list or predicate."""
    RATE_LIMITED = 28
    BUSY = 29
    """No room in the admission queue, or no chance to meet the deadline."""

    HANDLER_ERROR = 30
    DEADLINE_EXCEEDED = 31
    """The handler was cancelled at the signed deadline."""
    CANCELLED = 32
    """The caller went away or took the call back."""
    STREAM_ABORTED = 33

    NO_RECORD = 40
    """Nobody has told where the receiver can be reached."""
    DIAL_FAILED = 41
    DISCONNECTED_BEFORE_SEND = 42
    DISCONNECTED_AFTER_SEND = 43
    LOCAL_DEADLINE = 44
    """No reply came before the deadline."""
    BAD_REPLY_SIGNATURE = 45
    BAD_REPLY = 46
    """The reply does not decode, or does not belong to the request."""

    @property
    def travels(self) -> bool:
        """Whether a server may send it."""
        return self < Status.NO_RECORD

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed later, or elsewhere, without a change by its author."""
        return self in _RETRYABLE

    @property
    def resendable(self) -> bool:
        """Whether the request provably reached no handler, so that even a call with side effects may be sent again."""
        return self in (Status.DIAL_FAILED, Status.DISCONNECTED_BEFORE_SEND)

    @property
    def reached_handler(self) -> Reached:
        """What scoring needs: did the miner's code see the call?"""
        if self is Status.OK or Status.HANDLER_ERROR <= self <= Status.STREAM_ABORTED:
            return Reached.YES
        return Reached.UNKNOWN if self in _UNKNOWN else Reached.NO


class Reached(Enum):
    """Whether a call came to a handler."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


_RETRYABLE: Final = frozenset(
    {
        Status.RATE_LIMITED,
        Status.BUSY,
        Status.NO_RECORD,
        Status.DIAL_FAILED,
        Status.DISCONNECTED_BEFORE_SEND,
        Status.DISCONNECTED_AFTER_SEND,
        Status.LOCAL_DEADLINE,
    }
)

_UNKNOWN: Final = frozenset(
    {Status.DISCONNECTED_AFTER_SEND, Status.LOCAL_DEADLINE, Status.BAD_REPLY_SIGNATURE, Status.BAD_REPLY}
)
