"""Units, bounds and the error tree shared by every layer (DESIGN section 4, STYLE 3 and 9)."""

from __future__ import annotations

from typing import Final, NewType

Hash32 = NewType("Hash32", bytes)
"""A 32-byte blake2b-256 digest."""

AccountId = NewType("AccountId", bytes)
"""A 32-byte Ed25519 public key: coldkey or hotkey."""

AuthorityKey = NewType("AuthorityKey", bytes)
"""A 32-byte Ed25519 public key that signs consensus statements."""

Signature = NewType("Signature", bytes)
"""A 64-byte Ed25519 signature."""

Rao = NewType("Rao", int)
"""TAO in units of 1e-9, a u64."""

Height = NewType("Height", int)
"""Number of a block; genesis is 0 and belongs to no era."""

Slot = NewType("Slot", int)
"""Index of a wall-clock slot since genesis time; genesis is slot 0."""

View = NewType("View", int)
"""Consensus attempt inside an era, from 1; 0 names the opening block of the era."""

Era = NewType("Era", int)
"""Span of one authority set; era e covers heights (e*ERA_BLOCKS, (e+1)*ERA_BLOCKS]."""

Netuid = NewType("Netuid", int)
"""Subnet number, a u16; 0 is root."""

Uid = NewType("Uid", int)
"""A neuron's row in a subnet, a u16."""

Micros = NewType("Micros", int)
"""Unix time or a duration in microseconds; integers keep the rules free of floats."""

ZERO_HASH: Final = Hash32(bytes(32))
"""Stands for "none" where a hash is expected: no restart file, no next set, a nullify vote's block."""

U8_MAX: Final = (1 << 8) - 1
U16_MAX: Final = (1 << 16) - 1
U32_MAX: Final = (1 << 32) - 1
U64_MAX: Final = (1 << 64) - 1


class YumadError(Exception):
    """Root of every designed error: a stable code, what was wrong, and what to do about it."""

    code: str = "error"

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class MalformedError(YumadError):
    """Outside bytes that do not have the form they must have; raised by every `decode_…`."""

    code = "malformed"


class InvalidError(YumadError):
    """Well-formed data that breaks a rule; raised by every `verify_…`. `code` names the rule."""

    code = "invalid"
