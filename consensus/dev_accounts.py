"""Development accounts: keys derived from names that everybody knows, never files (DESIGN decision 11)."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from .chain_spec_authorities import prove_possession
from .chain_spec_types import AuthoritySpec
from .signature import KeyPair
from .types import AccountId, AuthorityKey


def dev_keypair(name: str) -> KeyPair:
    """The key of the development account `name`: seed = blake2b-256("yumad/dev" + name).

    Anybody can sign with it, so it is worth something only on chains whose spec funds it.
    """
    return KeyPair(blake2b(b"yumad/dev" + name.encode(), digest_size=32).digest())


@dataclass(frozen=True, slots=True)
class DevAuthority:
    """A development authority whose three keys are derived, so that a test spec is the same wherever it is made."""

    coldkey: KeyPair
    hotkey: KeyPair
    key: KeyPair
    """The authority key. Its seed is installed with a guard of its own before it signs anything."""
    spec: AuthoritySpec


def dev_authority(number: int, chain_name: str, salt: bytes) -> DevAuthority:
    """Development authority `number` (from 1) with its entry in the spec of the chain with this name and salt.

    Its accounts are `authority/N/coldkey`, `authority/N/hotkey` and `authority/N`.
    """
    name = f"authority/{number}"
    coldkey, hotkey, key = dev_keypair(f"{name}/coldkey"), dev_keypair(f"{name}/hotkey"), dev_keypair(name)
    account = AccountId(hotkey.public_key)
    proof = prove_possession(key, chain_name, salt, account)
    spec = AuthoritySpec(account, AccountId(coldkey.public_key), AuthorityKey(key.public_key), proof, b"")
    return DevAuthority(coldkey, hotkey, key, spec)
