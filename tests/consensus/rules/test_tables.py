"""The append-only tables: numbers of calls, errors and events, and the schemas behind them (DESIGN section 7)."""

import pytest
from dev_chain import account, packed
from yumad.consensus.rules.registry import rules_for
from yumad.consensus.rules.v1.calls.call import ArgumentKind, decode_arguments, pack_u16, unpack_u16
from yumad.consensus.rules.v1.calls.table import CALLS, call_named, call_numbered
from yumad.consensus.rules.v1.errors import TEXTS, CallError, ErrorCode, error_name, error_text
from yumad.consensus.rules.v1.events import ARGUMENTS, EventKind, describe_event, event, event_name
from yumad.consensus.types import InvalidError, MalformedError

CALL_NUMBERS = {
    "balances.transfer_keep_alive": 0x0000,
    "balances.transfer_allow_death": 0x0001,
    "balances.transfer_all": 0x0002,
    "balances.faucet": 0x0003,
    "authority.register": 0x0100,
    "authority.heartbeat": 0x0101,
    "neuron.burned_register": 0x0200,
    "neuron.register_limit": 0x0201,
    "neuron.register": 0x0202,
    "weights.set_weights": 0x0300,
    "weights.set_mechanism_weights": 0x0301,
    "weights.batch_set_weights": 0x0302,
    "weights.commit_weights": 0x0310,
    "weights.commit_mechanism_weights": 0x0311,
    "weights.batch_commit_weights": 0x0312,
    "weights.reveal_weights": 0x0313,
    "weights.reveal_mechanism_weights": 0x0314,
    "weights.batch_reveal_weights": 0x0315,
    "weights.commit_timelocked_weights": 0x0320,
    "weights.commit_timelocked_mechanism_weights": 0x0321,
    "weights.commit_crv3_mechanism_weights": 0x0322,
    "stake.add_stake": 0x0400,
    "stake.remove_stake": 0x0401,
    "stake.add_stake_limit": 0x0402,
    "stake.remove_stake_limit": 0x0403,
    "stake.remove_stake_full_limit": 0x0404,
    "stake.unstake_all": 0x0405,
    "stake.unstake_all_alpha": 0x0406,
    "stake.move_stake": 0x0410,
    "stake.transfer_stake": 0x0411,
    "stake.swap_stake": 0x0412,
    "stake.swap_stake_limit": 0x0413,
    "stake.burn_alpha": 0x0414,
    "stake.recycle_alpha": 0x0415,
    "stake.add_stake_burn": 0x0416,
    "stake.set_coldkey_auto_stake_hotkey": 0x0417,
    "stake.set_children": 0x0440,
    "stake.set_childkey_take": 0x0441,
    "stake.set_auto_parent_delegation_enabled": 0x0442,
    "stake.increase_take": 0x0443,
    "stake.decrease_take": 0x0444,
    "subnet.register_network": 0x0500,
    "subnet.register_network_with_identity": 0x0501,
    "subnet.start_call": 0x0502,
    "subnet.set_tempo": 0x0503,
    "subnet.trigger_epoch": 0x0504,
    "subnet.set_activity_cutoff_factor": 0x0505,
    "subnet.update_symbol": 0x0506,
    "subnet.owner_order": 0x0507,
    "keys.try_associate_hotkey": 0x0600,
    "keys.swap_hotkey": 0x0601,
    "keys.swap_hotkey_v2": 0x0602,
    "keys.announce_coldkey_swap": 0x0603,
    "keys.clear_coldkey_swap_announcement": 0x0604,
    "keys.swap_coldkey_announced": 0x0605,
    "keys.dispute_coldkey_swap": 0x0606,
    "root.claim_root": 0x0700,
    "root.set_root_claim_type": 0x0701,
    "root.root_register": 0x0710,
    "locks.lock_stake": 0x0800,
    "locks.move_lock": 0x0801,
    "locks.set_perpetual_lock": 0x0802,
    "locks.set_reject_locked_alpha": 0x0803,
    "serving.serve_axon": 0x0900,
    "serving.serve_axon_tls": 0x0901,
    "serving.serve_prometheus": 0x0902,
    "identity.set_identity": 0x0910,
    "identity.set_subnet_identity": 0x0911,
    "identity.set_commitment": 0x0912,
    "admin.execute": 0x0F00,
}


def test_call_numbers_never_change() -> None:
    assert {call.name: call.number for call in CALLS} == CALL_NUMBERS


def test_calls_are_found_by_number_and_by_name() -> None:
    for call in CALLS:
        assert call_numbered(call.number) is call
        assert call_named(call.name) is call
    assert call_numbered(0xFFFF) is None
    assert call_named("no.such") is None


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_call_says_what_it_is_and_what_it_costs(call: object) -> None:
    assert call.doc.endswith(".")  # type: ignore[attr-defined]
    assert call.weight > 0  # type: ignore[attr-defined]
    assert all(argument.doc for argument in call.arguments)  # type: ignore[attr-defined]


def test_every_error_has_a_text_and_every_event_its_arguments() -> None:
    assert set(TEXTS) == set(ErrorCode)
    assert set(ARGUMENTS) == set(EventKind)
    assert 0 not in set(ErrorCode)


def test_error_names_are_those_of_the_table_and_unknown_ones_show_their_number() -> None:
    assert (error_name(0), error_name(1), error_name(60_000)) == ("ok", "InsufficientBalance", "Error60000")
    assert error_text(60_000) == error_text(0) == ""
    assert str(CallError(ErrorCode.DuplicateUids)) == "DuplicateUids: a uid occurs twice"


def test_event_with_a_wrong_number_of_arguments_is_a_programming_error() -> None:
    with pytest.raises(TypeError):
        event(EventKind.Transfer, b"only one")


def test_described_event_names_its_arguments() -> None:
    described = describe_event(event(EventKind.NeuronRegistered, 1, 2, account("miner")))
    assert described == {"event": "NeuronRegistered", "netuid": 1, "uid": 2, "hotkey": account("miner")}
    assert event_name(9999) == "Event9999"


def test_u16_list_is_little_endian_and_bounded() -> None:
    assert pack_u16([1, 256]) == b"\x01\x00\x00\x01"
    assert unpack_u16(b"\x01\x00\x00\x01", 2, "list") == (1, 256)
    for bad in (b"\x01", bytes(6), 5, None):
        with pytest.raises(MalformedError):
            unpack_u16(bad, 2, "list")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("weights.batch_set_weights", (packed([1]), [[packed([0]), packed([1])]], [1 << 64])),
        ("weights.batch_set_weights", (packed([1]), [[packed([0])]], [0])),
        ("weights.batch_set_weights", (packed([1]), 7, [0])),
        ("weights.batch_set_weights", (packed(range(129)), [], [])),
        ("admin.execute", (1, 5, 0, 0, [])),
        ("admin.execute", (1, [], 0, 0, [[bytes(32), bytes(63)]])),
        ("admin.execute", (1, [], 0, 0, [[bytes(32), bytes(64)]] * 33)),
        ("admin.execute", (1 << 16, [], 0, 0, [])),
        ("balances.transfer_all", (bytes(32), 1)),
        ("authority.heartbeat", (bytes(65),)),
    ],
)
def test_arguments_outside_the_schema_are_malformed(name: str, values: tuple[object, ...]) -> None:
    call = call_named(name)
    assert call is not None
    with pytest.raises(MalformedError, match=name):
        decode_arguments(call, values)


def test_every_argument_kind_is_used_or_read_by_name() -> None:
    used = {argument.kind for call in CALLS for argument in call.arguments}
    assert used <= set(ArgumentKind)


def test_unknown_rules_version_is_refused_with_the_remedy() -> None:
    with pytest.raises(InvalidError, match="version 2 is not known") as refused:
        rules_for(2)
    assert refused.value.code == "unknown_rules"
    assert refused.value.remedy
