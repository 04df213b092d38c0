"""The string that a newcomer joins with: `<multiaddr>#<genesis hash>[@HEIGHT:HASH]` (DESIGN decision 13, CHAIN 2.2).

It carries the address of any peer and enough of the genesis hash that nobody can answer with another chain: at least 32
hex digits. A recent `(height, hash)` is optional; it replaces trust in the genesis where that is too old.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import base58

from ..consensus.types import Hash32, Height, MalformedError
from .network_address import parse_network_address
from .transport import PeerId

MIN_GENESIS_DIGITS: Final = 32
"""Eight digits are 2^32 work, with free-form chain-spec fields an hour's; 32 are out of reach."""

_MAX_TEXT: Final = 512
_HEX: Final = re.compile(r"[0-9a-f]+")
_EXAMPLE: Final = "/ip4/203.0.113.7/tcp/30333/p2p/12D3Koo…#<genesis hash>; `yumad status` of a running peer prints it"
_PEER_ID_BYTES: Final = 38
"""Identity multihash of an Ed25519 key."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A block that the operator trusts."""

    height: Height
    hash: Hash32


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """A parsed bootstrap string."""

    address: str
    """Multiaddr with `/p2p/<id>`, as `Transport.dial` takes it."""
    genesis_digits: str
    """32 to 64 lower-case hex digits."""
    anchor: Anchor | None = None

    @property
    def peer(self) -> PeerId:
        """The peer that the address names."""
        return PeerId(self.address.rpartition("/p2p/")[2])

    @property
    def genesis_prefix(self) -> bytes:
        """Whole bytes of the genesis hash, for the chain spec request; an odd last digit is checked afterwards."""
        return bytes.fromhex(self.genesis_digits[: len(self.genesis_digits) // 2 * 2])

    def matches(self, genesis_hash: Hash32) -> bool:
        """Whether a genesis hash agrees in every digit given."""
        return genesis_hash.hex().startswith(self.genesis_digits)


def parse_bootstrap(text: str) -> Bootstrap:
    """Read a bootstrap string. Raises MalformedError that says what is wrong and what is expected."""
    text = text.strip()
    if len(text) > _MAX_TEXT:
        raise MalformedError(f"bootstrap string of {len(text)} characters is too long", remedy=_EXAMPLE)
    address, hash_mark, rest = text.partition("#")
    if not hash_mark:
        raise MalformedError(
            f"bootstrap string {text!r} has no '#<genesis hash>': without it any chain could answer", remedy=_EXAMPLE
        )
    digits, at, anchor = rest.partition("@")
    return Bootstrap(_parse_peer_address(address), _parse_digits(digits), parse_anchor(anchor) if at else None)


def _parse_peer_address(text: str) -> str:
    network, mark, peer = text.rpartition("/p2p/")
    if not mark:
        raise MalformedError(f"address {text!r} does not end in /p2p/<peer id>", remedy=_EXAMPLE)
    parse_network_address(network)
    try:
        raw = base58.b58decode(peer) if len(peer) < 100 else b""
    except ValueError:
        raw = b""
    if len(raw) != _PEER_ID_BYTES:
        raise MalformedError(f"{peer!r} is not the id of a peer with an Ed25519 key", remedy=_EXAMPLE)
    return text


def _parse_digits(text: str) -> str:
    digits = text.lower().removeprefix("0x")
    if not _HEX.fullmatch(digits):
        raise MalformedError(f"genesis hash {text!r} is not hexadecimal", remedy=_EXAMPLE)
    if len(digits) < MIN_GENESIS_DIGITS:
        raise MalformedError(
            f"genesis hash {text!r} has {len(digits)} digits, at least {MIN_GENESIS_DIGITS} are needed: "
            "fewer could be forged",
            remedy="copy the whole bootstrap string from `yumad status` of a running peer",
        )
    if len(digits) > 64:
        raise MalformedError(f"genesis hash {text!r} has {len(digits)} digits, at most 64 exist", remedy=_EXAMPLE)
    return digits


def parse_anchor(text: str) -> Anchor:
    """Read `HEIGHT:HASH`, as in `--trust`. Raises MalformedError."""
    height, colon, digits = text.partition(":")
    digits = digits.lower().removeprefix("0x")
    if not colon or not height.isascii() or not height.isdigit() or len(height) > 18 or int(height) == 0:
        raise MalformedError(f"trusted block {text!r} is not HEIGHT:HASH", remedy="write it like 18000:<64 hex digits>")
    if len(digits) != 64 or not _HEX.fullmatch(digits):
        raise MalformedError(
            f"trusted block {text!r} has a hash of {len(digits)} digits, expected 64 hexadecimal ones",
            remedy="copy the hash from `yumad block HEIGHT` of a peer you trust",
        )
    return Anchor(Height(int(height)), Hash32(bytes.fromhex(digits)))


def format_bootstrap(address: str, genesis_hash: Hash32, anchor: Anchor | None = None) -> str:
    """The string for a listen address with `/p2p/`, with the whole genesis hash."""
    suffix = "" if anchor is None else f"@{anchor.height}:{anchor.hash.hex()}"
    return f"{address}#{genesis_hash.hex()}{suffix}"
