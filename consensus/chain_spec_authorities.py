"""Authorities of a chain spec: the set of era 0 and proofs of possession (CHAIN 1.3, weights and set change)."""

from __future__ import annotations

from . import cbor
from .authority import MAX_AUTHORITIES, Authority, AuthoritySet, era_seed
from .chain_spec_types import AuthoritySpec, ChainSpec
from .domains import Domain, digest
from .signature import KeyPair, verify
from .types import AccountId, Era, Hash32, InvalidError, Rao, Signature


def genesis_authorities(spec: ChainSpec) -> list[tuple[AuthoritySpec, Rao]]:
    """(authority, root stake) of the set of era 0: at least the minimum, top 100 by (weight, key), sorted by key.

    Genesis counts as both boundaries of CHAIN 1.3, so the stake at genesis is the weight.
    """
    stakes = {hotkey: stake for hotkey, _, stake in spec.stakes}
    weighted = [(authority, stakes.get(authority.hotkey, Rao(0))) for authority in spec.authorities]
    able = [pair for pair in weighted if pair[1] >= max(1, spec.min_authority_weight)]
    able.sort(key=lambda pair: (pair[1], pair[0].authority_key), reverse=True)
    return sorted(able[:MAX_AUTHORITIES], key=lambda pair: pair[0].authority_key)


def genesis_authority_set(spec: ChainSpec, genesis: Hash32) -> AuthoritySet:
    """The set of era 0 with its seed."""
    members = tuple(Authority(authority.authority_key, stake) for authority, stake in genesis_authorities(spec))
    return AuthoritySet(members, era_seed(genesis, Era(0), None))


def possession_digest_at_genesis(name: str, salt: bytes, hotkey: AccountId) -> Hash32:
    """What an authority key signs to enter a spec: the genesis hash does not exist yet, so name and salt stand for it.

    A registration on the chain signs `possession_digest` instead; the arrays differ in length, so neither can be used
    as the other.
    """
    return digest(Domain.POSSESSION, cbor.encode([name.encode(), salt, hotkey]))


def possession_digest(genesis: Hash32, hotkey: AccountId) -> Hash32:
    """What an authority key signs to be registered for `hotkey` on a running chain (CHAIN 1.3, set change)."""
    return digest(Domain.POSSESSION, cbor.encode([genesis, hotkey]))


def prove_possession(key: KeyPair, name: str, salt: bytes, hotkey: AccountId) -> Signature:
    """The proof an authority key gives to enter a spec."""
    return key.sign(possession_digest_at_genesis(name, salt, hotkey))


def check_possession(authority: AuthoritySpec, name: str, salt: bytes) -> None:
    """Raise InvalidError unless the authority key signed for this hotkey, chain name and salt."""
    message = possession_digest_at_genesis(name, salt, authority.hotkey)
    if not verify(authority.authority_key, message, authority.possession):
        raise InvalidError(
            f"authority {authority.authority_key.hex()[:16]} gives no valid proof of possession for chain {name!r}",
            remedy="make its record again with this chain's name and salt",
        )
