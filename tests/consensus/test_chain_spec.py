"""Chain specs: TOML with profile defaults, canonical bytes, a golden hash, and refusals that name the field."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yumad.consensus import cbor
from yumad.consensus.chain_spec import (
    FeeSchedule,
    SubnetHyperparameters,
    check_chain_spec,
    decode_chain_spec,
    encode_chain_spec,
    genesis_authority_set,
    genesis_hash,
    possession_digest,
    possession_digest_at_genesis,
)
from yumad.consensus.chain_spec_fields import kinds_of
from yumad.consensus.chain_spec_toml import load_chain_spec_toml, parse_account
from yumad.consensus.dev_accounts import dev_authority, dev_keypair
from yumad.consensus.profiles import DEV, FINNEY, MAIN, PROFILES
from yumad.consensus.ss58 import encode_address
from yumad.consensus.types import AccountId, InvalidError, MalformedError, YumadError

SMALL = (Path(__file__).parents[1] / "data" / "small_chain.toml").read_text()
SMALL_HASH = "b29fac752571a37c2968d5211191494f7f6b3bbe86240515b09882ec7835d2a0"
"""Golden: a change of it is a change of every chain's identity."""


@pytest.fixture(scope="module")
def spec():
    return load_chain_spec_toml(SMALL)


def test_shipped_small_chain_has_its_golden_genesis_hash(spec):
    assert genesis_hash(spec).hex() == SMALL_HASH


def test_decode_of_an_encoded_spec_gives_it_back(spec):
    assert decode_chain_spec(encode_chain_spec(spec)) == spec


def test_order_of_tables_in_the_file_does_not_change_the_hash(spec):
    head, *stakes = SMALL.split("[[stakes]]")
    *stakes, rest = [*stakes[:-1], *stakes[-1].partition("[[authorities]]")[::2]]
    text = head + "".join("[[stakes]]" + stake for stake in reversed(stakes)) + "[[authorities]]" + rest
    assert text != SMALL
    assert genesis_hash(load_chain_spec_toml(text)) == genesis_hash(spec)


@given(st.data())
def test_hash_depends_on_every_parameter(data):
    spec = load_chain_spec_toml(SMALL)
    name = data.draw(st.sampled_from(["genesis_time", "salt", "name", "slash_ppm", "jail_eras", "faucet_amount"]))
    value = getattr(spec, name)
    changed = replace(spec, **{name: value + 1 if isinstance(value, int) else value * 2})
    assert encode_chain_spec(changed) != encode_chain_spec(spec)


@given(st.binary(max_size=300))
def test_decode_of_any_bytes_only_raises_designed_errors(data):
    with pytest.raises(MalformedError):
        decode_chain_spec(data)


@given(st.data())
def test_decode_of_a_spec_with_one_value_replaced_only_raises_designed_errors(data):
    value = cbor.decode(encode_chain_spec(load_chain_spec_toml(SMALL)), max_bytes=10_000)
    path, place = value, data.draw(st.integers(0, len(value) - 1))
    while isinstance(path[place], list) and path[place] and data.draw(st.booleans()):
        path = path[place]
        place = data.draw(st.integers(0, len(path) - 1))
    path[place] = data.draw(st.sampled_from([-1, 0, 2**64 - 1, b"", b"\xff", bytes(32), [], [[]], None, True]))
    try:
        decode_chain_spec(cbor.encode(value))
    except YumadError:
        return


# --- profiles ---------------------------------------------------------------------------------------------------------


def test_profiles_have_the_constants_of_chain_1_3():
    day = 86_400 * 1_000_000
    assert (MAIN.chain.slot_length, MAIN.chain.era_blocks, MAIN.chain.jail_eras) == (12_000_000, 1800, 28)
    assert [(p.chain.unbond_eras, p.chain.evidence_eras, p.chain.trust_window) for p in (MAIN, DEV, FINNEY)] == [
        (60, 60, 14 * day),
        (2, 2, 0),
        (0, 2, 0),
    ]
    assert [p.chain.slash_ppm for p in (MAIN, DEV, FINNEY)] == [10_000, 0, 0]
    assert MAIN.chain.min_authority_weight == 1000 * DEV.chain.min_authority_weight == 10**12
    assert [p.chain.emission_on_registration for p in (MAIN, DEV, FINNEY)] == [True, True, False]
    assert (DEV.chain.slot_length, DEV.chain.era_blocks) == (2_000_000, 20)


def test_dev_profile_has_every_period_short():
    subnet, network = DEV.hyperparameters, DEV.parameters
    assert (subnet.tempo, network.admin_freeze_window, subnet.immunity_period) == (10, 2, 50)
    assert subnet.weights_set_rate_limit <= 5
    for name in ("tempo_rate_limit", "mechanism_rate_limit", "trim_rate_limit", "min_tempo"):
        assert getattr(network, name) <= 20


def test_finney_hyperparameters_are_what_a_subnet_is_created_with():
    subnet = FINNEY.hyperparameters
    assert (subnet.tempo, subnet.kappa, subnet.immunity_period, subnet.max_allowed_validators) == (360, 32767, 5000, 64)
    assert (subnet.yuma3_on, subnet.commit_reveal_weights_enabled, subnet.min_allowed_weights) == (True, True, 1)
    assert (subnet.alpha_low, subnet.alpha_high, subnet.burn_increase_mult) == (45875, 58982, 23242897532874035200)
    assert FINNEY.parameters.tao_weight == 971718665099567868


@pytest.mark.parametrize("profile", PROFILES.values())
def test_every_profile_makes_a_spec_that_loads(profile):
    text = SMALL.replace('profile = "dev"', f'profile = "{profile.name}"').replace("slot_length = 1_000_000", "")
    spec = load_chain_spec_toml(text)
    assert spec.profile == profile.name
    assert spec.timing.slot_length == profile.chain.slot_length


def test_every_hyperparameter_is_a_plain_parameter_with_a_width():
    assert list(kinds_of(SubnetHyperparameters)) == [item.name for item in fields(SubnetHyperparameters)]


# --- authorities ------------------------------------------------------------------------------------------------------


def test_set_of_era_zero_has_the_root_stakes_as_weights(spec):
    members = genesis_authority_set(spec, genesis_hash(spec)).members
    assert sorted(member.weight for member in members) == [(1000 + i) * 10**9 for i in range(1, 5)]


def test_authority_below_the_minimum_weight_is_not_in_the_set(spec):
    first = spec.authorities[0].hotkey
    poor = replace(spec, stakes=tuple((h, c, 1 if h == first else s) for h, c, s in spec.stakes))
    assert len(genesis_authority_set(poor, genesis_hash(poor)).members) == 3


def test_proofs_at_genesis_and_on_the_chain_cannot_stand_for_each_other():
    hotkey = AccountId(b"h" * 32)
    assert possession_digest_at_genesis("", b"g" * 32, hotkey) != possession_digest(b"g" * 32, hotkey)


def test_fee_is_the_calls_own_amount_or_the_base_plus_bytes():
    fees = FeeSchedule(base=100, per_byte=2, calls=((5, 7),))
    assert (fees.of(5, 10), fees.of(6, 10)) == (27, 120)


# --- refusals ---------------------------------------------------------------------------------------------------------


def refused(spec, **changes):
    with pytest.raises(InvalidError) as caught:
        check_chain_spec(replace(spec, **changes))
    return caught.value.message


def test_trust_window_not_below_the_evidence_window_is_refused(spec):
    window = spec.evidence_eras * spec.era_blocks * spec.slot_length
    check_chain_spec(replace(spec, trust_window=window - 1))
    assert f"trust_window is {window}" in refused(spec, trust_window=window)


def test_spec_without_authority_weight_is_refused(spec):
    assert "genesis authority weight is zero" in refused(spec, authorities=())
    assert "genesis authority weight is zero" in refused(spec, stakes=())


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"slot_length": 249_999}, "slot_length is 249999"),
        ({"era_blocks": 1}, "era_blocks is 1"),
        ({"evidence_eras": 1}, "evidence_eras is 1"),
        ({"unbond_eras": 3}, "evidence_eras is 2"),
        ({"slash_ppm": 1_000_001}, "slash_ppm is 1000001"),
        ({"slash_ppm": -1}, "slash_ppm is -1"),
        ({"rules_version": 0}, "rules_version is 0"),
        ({"profile": "test"}, "profile 'test' is unknown"),
        ({"name": ""}, "name is ''"),
        ({"salt": bytes(33)}, "salt has 33 bytes"),
        ({"admin_threshold": 2}, "admin_threshold is 2, expected 1 to 1"),
        ({"recovery_threshold": 1}, "recovery_threshold is 1, expected 0"),
        ({"balances": ((AccountId(b"b" * 32), 1), (AccountId(b"a" * 32), 1))}, "balances must be sorted"),
        ({"balances": ((AccountId(b"b" * 32), 1), (AccountId(b"b" * 32), 1))}, "balances must be sorted"),
        ({"balances": ((AccountId(b"b" * 32), 2**63),)}, "sum to"),
        ({"dev_names": ("a", "a")}, "dev_names: a occurs twice"),
    ],
)
def test_spec_that_breaks_a_rule_is_refused_with_the_field(spec, changes, names):
    assert names in refused(spec, **changes)


def test_authority_with_a_proof_for_another_chain_or_hotkey_is_refused(spec):
    assert "proof of possession" in refused(spec, salt=b"other")
    first, second, *rest = spec.authorities
    swapped = replace(first, authority_key=second.authority_key), replace(second, authority_key=first.authority_key)
    assert "proof of possession" in refused(spec, authorities=(*swapped, *rest))


def test_two_authorities_with_one_key_are_refused(spec):
    first, second, *rest = spec.authorities
    twin = replace(second, authority_key=first.authority_key)
    assert "occurs twice" in refused(spec, authorities=(first, twin, *rest))


def test_hotkey_with_two_coldkeys_is_refused(spec):
    (hotkey, _, stake), *rest = spec.stakes
    assert "another coldkey" in refused(spec, stakes=((hotkey, AccountId(b"c" * 32), stake), *rest))


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (lambda s: replace(s, netuid=0), "subnet 0 is root"),
        (lambda s: replace(s, neurons=s.neurons[:2]), "name a mechanism or uid"),
        (lambda s: replace(s, neurons=(*s.neurons, s.neurons[0])), "occurs twice"),
        (lambda s: replace(s, weights=s.weights[::-1]), "weights must be sorted"),
        (lambda s: replace(s, weights=(replace(s.weights[0], uids=b"\2\0"),)), "2 and 6 bytes"),
        (lambda s: replace(s, weights=(replace(s.weights[0], uids=b"\2"),)), "1 and 6 bytes"),
        (lambda s: replace(s, weights=(replace(s.weights[0], uids=b"\2\0\2\0\3\0"),)), "occurs twice"),
        (lambda s: replace(s, weights=(replace(s.weights[0], mechanism=1),)), "mechanism or uid"),
        (lambda s: replace(s, hyperparameters=replace(s.hyperparameters, max_allowed_uids=5)), "6 neurons"),
        (lambda s: replace(s, hyperparameters=replace(s.hyperparameters, max_allowed_uids=257)), "257 uids"),
        (lambda s: replace(s, hyperparameters=replace(s.hyperparameters, mechanism_count=0)), "0 mechanisms"),
        (lambda s: replace(s, hyperparameters=replace(s.hyperparameters, mechanism_emission_split=(1,))), "split"),
        (lambda s: replace(s, hyperparameters=replace(s.hyperparameters, min_burn=10**12)), "min_burn"),
        (lambda s: replace(s, hyperparameters=replace(s.hyperparameters, kappa=65536)), "kappa is 65536"),
    ],
)
def test_subnet_that_breaks_a_rule_is_refused_with_the_field(spec, change, names):
    assert names in refused(spec, subnets=(change(spec.subnets[0]),))


# --- TOML -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "names", "remedy"),
    [
        ("salt =", "slat =", "has no setting 'slat'", "'salt'"),
        ("slot_length", "slot_lenght", "chain has no setting 'slot_lenght'", "'slot_length'"),
        ("max_allowed_uids", "max_alowed_uids", "hyperparameters has no setting", "'max_allowed_uids'"),
        ("1_700_000_000_000_000", "1.5", "genesis_time is 1.5, expected a whole number", ""),
        ("1_700_000_000_000_000", "-1", "genesis_time is -1", ""),
        ("1_700_000_000_000_000", "true", "genesis_time is True", ""),
        ('salt = "5eed"', 'salt = "xyz"', "salt is 'xyz', expected hex", ""),
        ('"dev:admin"', '"nonsense"', "admin.keys: address 'nonsense'", "SS58"),
        ("uids = [2, 3, 4]", "uids = [2, 3, 70000]", "weights.uids is 70000", ""),
        ("permit = true", "permit = 1", "permit is 1", ""),
        ("[[subnets]]", "[subnets]", "subnets is", ""),
        ("neurons = [", "neurons = [ 5,", "neurons is 5, expected a table", ""),
        ('profile = "dev"', 'profile = "prod"', "profile 'prod' is unknown", "main, dev, finney"),
    ],
)
def test_mistake_in_the_file_is_refused_with_setting_and_remedy(old, new, names, remedy):
    with pytest.raises(InvalidError) as caught:
        load_chain_spec_toml(SMALL.replace(old, new, 1))
    assert names in caught.value.message
    assert remedy in caught.value.remedy


def test_broken_toml_is_refused_with_its_place():
    with pytest.raises(MalformedError, match="line 2"):
        load_chain_spec_toml('name = "x"\nprofile = \n')


def test_fees_can_be_set_per_call(spec):
    text = SMALL.replace("[dev]", '[fees]\nbase = 5\n[fees.calls]\n"0x0400" = 9\n"3" = 1\n[dev]')
    assert load_chain_spec_toml(text).fees == FeeSchedule(5, DEV.fees.per_byte, ((3, 1), (0x400, 9)))
    with pytest.raises(InvalidError, match="is not a call id"):
        load_chain_spec_toml(SMALL.replace("[dev]", "[fees.calls]\ntransfer = 9\n[dev]"))


def test_account_is_an_address_or_a_development_name():
    alice = dev_keypair("alice").public_key
    assert parse_account("dev:alice", what="x") == parse_account(encode_address(alice), what="x") == alice


def test_development_authority_has_the_entry_of_the_shipped_chain(spec):
    entries = {dev_authority(number, "small", bytes.fromhex("5eed")).spec for number in range(1, 5)}
    assert entries == set(spec.authorities)
