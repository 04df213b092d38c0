"""The chain of a dev swarm: loads in every profile, holds a working subnet, and only lacks its authorities."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_peer import small_spec
from yumad.consensus.chain_spec import (
    ChainSpec,
    check_chain_spec,
    decode_chain_spec,
    encode_chain_spec,
    prove_possession,
)
from yumad.consensus.chain_spec_types import AuthoritySpec
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.rules.registry import rules_for
from yumad.consensus.types import AccountId, AuthorityKey, InvalidError, Rao
from yumad.daemon.swarm_spec import DEV_FUNDS, DEV_NAMES, MINERS, SUBNET, VALIDATORS, swarm_spec


def with_authority(spec: ChainSpec) -> ChainSpec:
    """The same chain with one authority, as `swarm` adds its own."""
    hotkey, key = AccountId(dev_keypair("authority-hot").public_key), dev_keypair("authority-key")
    coldkey = AccountId(dev_keypair("authority").public_key)
    proof = prove_possession(key, spec.name, spec.salt, hotkey)
    return replace(
        spec,
        authorities=(AuthoritySpec(hotkey, coldkey, AuthorityKey(key.public_key), proof, b""),),
        stakes=tuple(sorted([*spec.stakes, (hotkey, coldkey, Rao(100_000 * 10**9))])),
    )


@pytest.mark.parametrize("profile", ["dev", "main", "finney"])
def test_spec_of_each_profile_is_whole_once_it_has_an_authority(profile: str) -> None:
    spec = with_authority(swarm_spec(profile, "net", b"\x01\x02", None))
    check_chain_spec(spec)
    assert decode_chain_spec(encode_chain_spec(spec)) == spec
    assert spec.profile == profile
    rules_for(spec.rules_version).build_genesis(spec)


def test_spec_without_authorities_is_refused_as_it_is() -> None:
    with pytest.raises(InvalidError):
        check_chain_spec(swarm_spec("dev", "net", b"", None))


def test_slot_and_salt_are_the_callers() -> None:
    spec = swarm_spec("dev", "net", b"\xaa\xbb", 250_000)
    assert (spec.slot_length, spec.salt, spec.name) == (250_000, b"\xaa\xbb", "net")
    assert swarm_spec("dev", "net", b"", None).slot_length == small_spec().slot_length


def test_subnet_has_validators_that_weigh_every_miner_with_keys_derived_from_names() -> None:
    spec = swarm_spec("dev", "net", b"", None)
    (subnet,) = spec.subnets
    assert subnet.netuid == SUBNET
    assert [neuron.permit for neuron in subnet.neurons] == [True] * VALIDATORS + [False] * MINERS
    for uid, neuron in enumerate(subnet.neurons):
        assert neuron.hotkey == dev_keypair(f"sn{SUBNET}/{uid}").public_key
    assert [row.uid for row in subnet.weights] == list(range(VALIDATORS))
    for row in subnet.weights:
        assert np.frombuffer(row.uids, "<u2").tolist() == list(range(VALIDATORS, VALIDATORS + MINERS))
        assert min(np.frombuffer(row.values, "<u2").tolist()) > 0


def test_development_accounts_are_funded_equally() -> None:
    balances = dict(swarm_spec("dev", "net", b"", None).balances)
    assert [balances[AccountId(dev_keypair(name).public_key)] for name in DEV_NAMES] == [DEV_FUNDS] * len(DEV_NAMES)
