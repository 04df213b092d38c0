"""One frame of the vote exchange: the sender's position and what the receiver lacks (CHAIN 1.5).

`[era, F view, view, [certificate…], [statement…]]`, at most 128 items or 64 KiB, behind a length prefix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..consensus import cbor
from ..consensus.certificate import Certificate, certificate_from_value, certificate_to_value
from ..consensus.statement import SignedStatement, statement_from_value, statement_to_value
from ..consensus.types import Era, MalformedError, View
from .limits import MAX_FRAME_BYTES, MAX_FRAME_ITEMS

FRAME_OVERHEAD: Final = 64
"""Position and array heads of a frame."""

STATEMENT_BYTES: Final = 144
"""Most that one statement takes in a frame."""


def certificate_bytes(certificate: Certificate) -> int:
    """Most that a certificate takes in a frame."""
    return 112 + 65 * len(certificate.signers)


@dataclass(frozen=True, slots=True)
class Position:
    """Where a peer stands: decides what it can use."""

    era: Era
    finalised_view: View
    view: View


@dataclass(frozen=True, slots=True)
class ExchangeFrame:
    """What one side says in one go."""

    position: Position
    certificates: tuple[Certificate, ...] = ()
    statements: tuple[SignedStatement, ...] = ()


def encode_exchange_frame(frame: ExchangeFrame) -> bytes:
    """Canonical bytes, without the length prefix."""
    return cbor.encode(
        [
            frame.position.era,
            frame.position.finalised_view,
            frame.position.view,
            [certificate_to_value(certificate) for certificate in frame.certificates],
            [statement_to_value(signed) for signed in frame.statements],
        ]
    )


def decode_exchange_frame(data: bytes) -> ExchangeFrame:
    """Inverse of `encode_exchange_frame`. Raises MalformedError."""
    era, finalised_view, view, certificates, statements = cbor.as_array(
        cbor.decode(data, max_bytes=MAX_FRAME_BYTES), 5, what="exchange frame"
    )
    certificates = cbor.as_array(certificates, what="certificates", most=MAX_FRAME_ITEMS)
    statements = cbor.as_array(statements, what="statements", most=MAX_FRAME_ITEMS - len(certificates))
    position = Position(
        Era(cbor.as_uint(era, 32, what="era")),
        View(cbor.as_uint(finalised_view, 64, what="finalised view")),
        View(cbor.as_uint(view, 64, what="view")),
    )
    if position.view < position.finalised_view:
        raise MalformedError(f"view {view} lies below the finalised view {finalised_view}")
    return ExchangeFrame(
        position,
        tuple(certificate_from_value(item) for item in certificates),
        tuple(statement_from_value(item) for item in statements),
    )
