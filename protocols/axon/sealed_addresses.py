"""Addresses that only permit holders can read (AXON R33, complaint C8): one sealed box for each of them.

A box is libsodium's sealed box to the X25519 form of the holder's Ed25519 hotkey: an anonymous sender, no key of ours.
All boxes of one record make one byte string whose hash the record signs, so they may come from anybody. They travel
beside the record, because 64 of them do not fit into its 2 KiB.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from nacl.bindings import (
    crypto_box_seal,
    crypto_box_seal_open,
    crypto_sign_ed25519_pk_to_curve25519,
    crypto_sign_ed25519_sk_to_curve25519,
)
from nacl.exceptions import CryptoError

from ...consensus import cbor
from ...consensus.domains import Domain, digest
from ...consensus.signature import KeyPair
from ...consensus.types import AccountId, MalformedError
from .records import addresses_from_value

MAX_HOLDERS: Final = 64
"""Validators of a subnet, by the default of `max_allowed_validators`; those with most stake come first."""

PLAIN_BYTES: Final = 256
"""Every box holds this many: its length says nothing about the addresses."""

HINT_BYTES: Final = 4
"""Of the holder's hotkey, so that a holder need not try every box. Permits are public anyway."""

_BOX_BYTES: Final = PLAIN_BYTES + 48
MAX_BOXES_BYTES: Final = MAX_HOLDERS * (HINT_BYTES + _BOX_BYTES + 8) + 8


def seal_addresses(addresses: Sequence[str], holders: Iterable[AccountId]) -> bytes:
    """The boxes for at most MAX_HOLDERS hotkeys; hotkeys that are no Ed25519 points get none.

    Addresses beyond what a box can hold are left out.
    """
    kept = [address.encode("ascii") for address in addresses]
    while len(plain := cbor.encode([kept])) > PLAIN_BYTES:
        kept.pop()
    plain += bytes(PLAIN_BYTES - len(plain))
    boxes: list[list[bytes]] = []
    for holder in holders:
        if len(boxes) == MAX_HOLDERS:
            break
        try:
            public = crypto_sign_ed25519_pk_to_curve25519(holder)
        except (CryptoError, RuntimeError, ValueError):
            continue
        boxes.append([holder[:HINT_BYTES], crypto_box_seal(plain, public)])
    return cbor.encode([*boxes])


def check_boxes(boxes: bytes) -> None:
    """Raise MalformedError unless the bytes are a set of boxes of the one allowed length."""
    items = cbor.as_array(cbor.decode(boxes, max_bytes=MAX_BOXES_BYTES), what="boxes", most=MAX_HOLDERS)
    for item in items:
        hint, box = cbor.as_array(item, 2, what="box")
        cbor.as_bytes(hint, HINT_BYTES, what="hint")
        cbor.as_bytes(box, _BOX_BYTES, what="box")


def boxes_hash(boxes: bytes) -> bytes:
    """What a sealed record signs of its boxes."""
    return digest(Domain.SERVICE_RECORD, cbor.encode([b"boxes", boxes]))


def open_addresses(boxes: bytes, key: KeyPair) -> tuple[str, ...] | None:
    """The addresses, when one of the boxes is for this hotkey and holds what it must; else None."""
    public = crypto_sign_ed25519_pk_to_curve25519(key.public_key)
    secret = crypto_sign_ed25519_sk_to_curve25519(key.seed + key.public_key)
    for hint, box in cbor.decode(boxes, max_bytes=MAX_BOXES_BYTES):
        if hint != key.public_key[:HINT_BYTES]:
            continue
        try:
            plain = crypto_box_seal_open(box, public, secret)
            (addresses,) = cbor.as_array(cbor.decode(plain.rstrip(b"\0"), max_bytes=PLAIN_BYTES), 1, what="addresses")
            return addresses_from_value(addresses)
        except (CryptoError, MalformedError):
            continue
    return None
