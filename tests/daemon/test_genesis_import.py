"""The real network as a genesis: exact to the rao, exact to the bit, the same wherever it is made."""

import gzip
import io
import json
import struct
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from yumad.consensus.chain_spec import decode_chain_spec, encode_chain_spec, genesis_hash
from yumad.consensus.dev_accounts import dev_authority, dev_keypair
from yumad.consensus.profiles import DEV
from yumad.consensus.ss58 import encode_address
from yumad.consensus.types import InvalidError, MalformedError, Rao
from yumad.daemon.genesis_import import (
    SNAPSHOT_TOTAL,
    exact_rationals,
    highest_uids,
    import_spec,
    neuron_account,
    read_snapshot,
    read_subnet,
    scale_to_u16,
)

REAL_HASH = "dc96efa73fac86a689c18414720ab63736ba29bfca6192ee3f96a9142ad90b0c"
"""Golden: the real genesis with four development authorities and one funded account."""

NAME, SALT = "real-test", b"test"


def address(name):
    return encode_address(dev_keypair(name).public_key)


@pytest.fixture(scope="module")
def snapshot_bytes(shared_folder):
    return (shared_folder / "data/mainnet/finney_genesis_snapshot.json.gz").read_bytes()


@pytest.fixture(scope="module")
def subnet_bytes(shared_folder):
    return (shared_folder / "data/mainnet/sn15_metagraph_4769998.npz").read_bytes()


@pytest.fixture(scope="module")
def snapshot(snapshot_bytes):
    return read_snapshot(snapshot_bytes)


@pytest.fixture(scope="module")
def subnet(subnet_bytes):
    return read_subnet(subnet_bytes, DEV)


@pytest.fixture(scope="module")
def spec(snapshot, subnet):
    return import_spec(
        snapshot,
        [subnet],
        profile=DEV,
        name=NAME,
        genesis_time=1_700_000_000_000_000,
        salt=SALT,
        authorities=[dev_authority(number, NAME, SALT).spec for number in range(1, 5)],
        authority_stake=Rao(1000 * 10**9),
        dev_names=["alice"],
        dev_funds=Rao(10**15),
    )


def test_real_snapshot_sums_to_the_rao(snapshot, shared_folder):
    sums = np.load(shared_folder / "data/mainnet/genesis_stakes.npz")
    assert (len(snapshot.balances), len(snapshot.stakes)) == (18_618, 4096)
    assert len({coldkey for _, coldkey, _ in snapshot.stakes}) == 371
    assert snapshot.total == SNAPSHOT_TOTAL == int(sums["total_rao"])
    assert sorted(amount for _, amount in snapshot.balances) == sums["balances_rao_sorted"].tolist()
    assert sorted(stake for _, _, stake in snapshot.stakes) == sorted(sums["stake_rao_by_uid"].tolist())


def test_issuance_is_the_snapshot_and_the_development_funds(spec):
    pool = 1000 * 10**9
    assert spec.issuance == SNAPSHOT_TOTAL + 10**15 + 4 * 1000 * 10**9 + pool


def test_real_genesis_has_its_golden_hash_and_round_trips(spec):
    assert genesis_hash(spec).hex() == REAL_HASH
    assert decode_chain_spec(encode_chain_spec(spec)) == spec


def test_snapshot_that_lost_a_rao_is_refused(snapshot_bytes):
    document = json.loads(gzip.decompress(snapshot_bytes))
    account = next(iter(document["balances"]))
    document["balances"][account] -= 1
    with pytest.raises(InvalidError, match="4181329662284939 rao, expected 4181329662284940"):
        read_snapshot(json.dumps(document).encode())


def test_real_subnet_has_its_stakes_and_weights(subnet, subnet_bytes):
    arrays = np.load(io.BytesIO(subnet_bytes))
    assert (subnet.netuid, len(subnet.neurons), len(subnet.weights)) == (15, 256, 20)
    assert [row.uid for row in subnet.weights] == arrays["in_rows_used"].tolist()
    assert not subnet.hyperparameters.commit_reveal_weights_enabled
    for neuron, stake in zip(subnet.neurons, arrays["in_stake"].tolist(), strict=True):
        assert neuron.stake == Fraction(stake) * 10**9 // 1
        assert (neuron.registration_block, neuron.last_update) == (0, 1)
    assert subnet.neurons[7].hotkey == dev_keypair("sn15/7").public_key == neuron_account(15, 7)


def test_real_weight_rows_are_scaled_exactly(subnet, subnet_bytes):
    arrays = np.load(io.BytesIO(subnet_bytes))
    for row in subnet.weights:
        chosen = arrays["in_weight_row"] == row.uid
        exact = [Fraction(value) for value in arrays["in_weight_val"][chosen].tolist()]
        expected = [(65535 * value / max(exact) + Fraction(1, 2)) // 1 for value in exact]
        assert np.frombuffer(row.values, "<u2").tolist() == expected
        assert np.frombuffer(row.uids, "<u2").tolist() == arrays["in_weight_col"][chosen].tolist()
        assert max(expected) == 65535


def test_permits_go_to_the_highest_stakes(subnet):
    permitted = [neuron.stake for neuron in subnet.neurons if neuron.permit]
    others = [neuron.stake for neuron in subnet.neurons if not neuron.permit]
    assert len(permitted) == DEV.hyperparameters.max_allowed_validators
    assert min(permitted) >= max(others)


def test_authority_whose_hotkey_holds_stake_in_the_snapshot_is_refused(snapshot):
    (hotkey, _, _), *_ = snapshot.stakes
    from dataclasses import replace

    taken = replace(dev_authority(1, NAME, SALT).spec, hotkey=hotkey)
    with pytest.raises(InvalidError, match="one of the snapshot's"):
        import_spec(
            snapshot,
            [],
            profile=DEV,
            name=NAME,
            genesis_time=1,
            salt=SALT,
            authorities=[taken],
            authority_stake=Rao(10**12),
            dev_names=[],
            dev_funds=Rao(0),
        )


# --- without the shared data ------------------------------------------------------------------------------------------


def small_snapshot(**changes):
    document = {
        "balances": {address("a"): 5, address("b"): 7},
        "stakes": {address("a"): {address("h1"): [11, 0], address("h2"): [0, 1]}},
        **changes,
    }
    return json.dumps(document).encode()


def test_small_snapshot_is_read_plain_or_packed():
    plain = read_snapshot(small_snapshot(), expected_total=23)
    assert plain == read_snapshot(gzip.compress(small_snapshot()), expected_total=23)
    assert plain.stakes[0][1] == dev_keypair("a").public_key


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{",
        b"\x1f\x8bnonsense",
        b'{"balances": {}}',
        small_snapshot(balances={"5abc": 1}),
        small_snapshot(balances={address("a"): 1.5}),
        small_snapshot(balances={address("a"): -1}),
        small_snapshot(balances={address("a"): True}),
        small_snapshot(stakes={address("a"): {address("h1"): 5}}),
        b'{"stakes": {}, "balances": {"%s": 1, "%s": 1}}' % (address("a").encode(), address("a").encode()),
        b"[" * 100_000,
    ],
)
def test_snapshot_of_another_form_is_refused(data):
    with pytest.raises(MalformedError):
        read_snapshot(data)


def metagraph(**changes):
    arrays = {
        "in_n": np.int64(3),
        "in_netuid": np.int64(4),
        "in_stake": np.array([1.5, 0.0, 2.0**-30], dtype="<f4"),
        "in_weight_row": np.array([0, 0], dtype="<u2"),
        "in_weight_col": np.array([2, 1], dtype="<u2"),
        "in_weight_val": np.array([0.25, 1.0], dtype="<f4"),
        **changes,
    }
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def test_small_subnet_floors_stakes_and_keeps_the_order_of_targets():
    subnet = read_subnet(metagraph(), DEV)
    assert [neuron.stake for neuron in subnet.neurons] == [1_500_000_000, 0, 0]
    assert [neuron.permit for neuron in subnet.neurons] == [True, False, False]
    (row,) = subnet.weights
    assert struct.unpack("<2H", row.uids) == (2, 1)
    assert struct.unpack("<2H", row.values) == (16384, 65535)


@pytest.mark.parametrize(
    "changes",
    [
        {"in_n": np.int64(0)},
        {"in_n": np.int64(4)},
        {"in_n": np.int64(10_000)},
        {"in_stake": np.array([1, 2, 3])},
        {"in_stake": np.array([1, np.inf, 0], dtype="<f4")},
        {"in_stake": np.array([1, np.nan, 0], dtype="<f4")},
        {"in_stake": np.array([-1, 0, 0], dtype="<f4")},
        {"in_weight_col": np.array([3, 1], dtype="<u2")},
        {"in_weight_col": np.array([1], dtype="<u2")},
        {"in_weight_row": np.array([0.0, 1.0])},
        {"in_stake": np.array(["a", "b", "c"], dtype=object)},
    ],
)
def test_subnet_file_of_another_form_is_refused(changes):
    with pytest.raises(MalformedError):
        read_subnet(metagraph(**changes), DEV)


def test_bytes_that_are_no_subnet_file_are_refused():
    for data in (b"", b"PK\x03\x04", b"nonsense", metagraph()[:100]):
        with pytest.raises(MalformedError):
            read_subnet(data, DEV)


@given(st.lists(st.floats(0, allow_infinity=False, allow_nan=False, width=32), min_size=1, max_size=8))
def test_rationals_of_floats_are_exact(values):
    exact = [Fraction(*pair) for pair in exact_rationals(np.array(values, dtype="<f4"))]
    assert exact == [Fraction(value) for value in values]


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=8))
def test_scaled_row_is_the_nearest_integer_with_the_largest_at_the_top(values):
    scaled = scale_to_u16(exact_rationals(np.array(values, dtype="<f4")))
    top = max(Fraction(value) for value in values)
    if top == 0:
        assert set(scaled) == {0}
    else:
        assert max(scaled) == 65535
        for value, found in zip(values, scaled, strict=True):
            assert abs(Fraction(value) * 65535 / top - found) <= Fraction(1, 2)


def test_highest_uids_lets_the_lower_uid_lose_a_tie_and_never_picks_zero():
    assert highest_uids([5, 5, 5, 0], 2) == [1, 2]
    assert highest_uids([0, 0], 2) == []
