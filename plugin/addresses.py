"""Hotkeys as text and as bytes, remembered: a round turns the same few hundred over and over, and base58 is slow."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from ..consensus.ss58 import decode_address, encode_address
from ..consensus.types import AccountId

_REMEMBERED: Final = 8192
"""Some subnets' worth of hotkeys; a megabyte at most."""


@lru_cache(maxsize=_REMEMBERED)
def address_of(account: AccountId) -> str:
    """ss58."""
    return encode_address(account)


@lru_cache(maxsize=_REMEMBERED)
def account_of(address: str) -> AccountId:
    """Raises MalformedError."""
    return decode_address(address)
