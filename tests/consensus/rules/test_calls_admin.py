"""Administrative orders: signatures, nonce, bounds and windows (DESIGN decision 8, YUMA section 8)."""

from typing import Any

import pytest
from dev_chain import ADMINS, DevChain, account, dev_spec, subnet
from failed_calls import failure
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.rules.v1.calls.admin import order_digest
from yumad.consensus.rules.v1.calls.orders import ORDERS
from yumad.consensus.rules.v1.hyperparameters import GLOBAL, SUBNET
from yumad.consensus.rules.v1.subnets import mechanism_split, parameter

U64 = (1 << 64) - 1
PLAIN = [entry for entry in SUBNET if entry.name not in ("alpha_low", "alpha_high")]


@pytest.fixture
def chain() -> DevChain:
    started = DevChain()
    started.skip(1)
    return started


def test_every_parameter_has_an_order_with_its_own_number() -> None:
    assert len({order.number for order in ORDERS}) == len(ORDERS) == len(SUBNET) + len(GLOBAL) + 5
    assert [order.number for order in ORDERS] == sorted(order.number for order in ORDERS)
    assert all(order.number >> 8 == 0x0F for order in ORDERS)


def test_order_of_enough_admins_sets_a_parameter_and_uses_up_its_nonce(chain: DevChain) -> None:
    assert chain.command("sudo_set_kappa", 1, 40_000) == "ok"
    assert parameter(chain.state, 1, "kappa") == 40_000
    assert chain.state.read("chain/admin_nonce", 0) == 1


def test_global_order_sets_the_networks_parameter(chain: DevChain) -> None:
    assert chain.command("sudo_set_stake_threshold", 5) == "ok"
    assert chain.state.read("global/stake_threshold", 0) == 5


def test_order_may_be_signed_by_all_admins(chain: DevChain) -> None:
    assert chain.command("sudo_set_kappa", 1, 1, admins=ADMINS) == "ok"


EXECUTE = "admin.execute"

FAILURES: list[tuple[str, str, tuple[Any, ...], dict[str, Any]]] = [
    (EXECUTE, "AdminNonceMismatch", (1, 1), {"nonce": 1, "valid_until": 1}),
    (EXECUTE, "AdminNonceMismatch", (1, 1), {"nonce": U64}),
    (EXECUTE, "AdminCallExpired", (1, 1), {"valid_until": 1, "admins": ()}),
    (EXECUTE, "BadOrigin", (), {"admins": ADMINS[:1]}),
    (EXECUTE, "BadOrigin", (), {"admins": ()}),
    (EXECUTE, "BadOrigin", (), {"admins": ("admin-0", "mallory")}),
    (EXECUTE, "BadOrigin", (), {"admins": (*ADMINS, "mallory")}),
    (EXECUTE, "BadOrigin", (), {"admins": ("admin-0", "admin-0")}),
    *(
        (EXECUTE, "AdminArgumentsMalformed", values, {})
        for values in [(1,), (1, 2, 3), (1, b"x"), (1, True), (1, None), (1, [2])]
    ),
]
"""Call, error, arguments of `sudo_set_kappa`, and how the order is signed. Orders' own checks: test_calls_orders."""

UNREACHABLE: dict[tuple[str, str], str] = {}


@pytest.mark.parametrize(("call", "error", "values", "fields"), FAILURES)
def test_order_without_authority_or_form_fails(
    chain: DevChain, call: str, error: str, values: tuple[Any, ...], fields: dict[str, Any]
) -> None:
    assert failure(chain, "alice", call, *chain.order("sudo_set_kappa", *values, **fields)) == error
    assert parameter(chain.state, 1, "kappa") == 32_767
    assert chain.state.read("chain/admin_nonce", 0) == 0


def test_order_with_a_signature_over_other_arguments_fails(chain: DevChain) -> None:
    number, _, nonce, until, pairs = chain.order("sudo_set_kappa", 1, 1)
    assert chain.attempt("alice", "admin.execute", number, [1, 2], nonce, until, pairs) == "BadOrigin"


def test_order_is_not_good_twice(chain: DevChain) -> None:
    order = chain.order("sudo_set_kappa", 1, 1)
    assert chain.attempt("alice", "admin.execute", *order) == "ok"
    assert chain.attempt("bob", "admin.execute", *order) == "AdminNonceMismatch"


UNKNOWN_ORDERS: list[tuple[str, str, int]] = [(EXECUTE, "AdminCallUnknown", number) for number in (0x0F00, 0x0FFF)]


@pytest.mark.parametrize(("call", "error", "number"), UNKNOWN_ORDERS)
def test_order_of_an_unknown_number_fails(chain: DevChain, call: str, error: str, number: int) -> None:
    message = order_digest(chain.genesis, number, [1], 0, 100)
    pairs = sorted([account(name), dev_keypair(name).sign(message)] for name in ADMINS[:2])
    assert failure(chain, "alice", call, number, [1], 0, 100, pairs) == error


def test_network_without_admin_keys_is_immutable() -> None:
    chain = DevChain(dev_spec(admin_keys=(), admin_threshold=0))
    assert chain.command("sudo_set_kappa", 1, 1) == "BadOrigin"
    assert chain.command("sudo_set_kappa", 1, 1, admins=()) == "BadOrigin"


@pytest.mark.parametrize("entry", PLAIN, ids=lambda entry: entry.name)
def test_subnet_parameter_outside_its_bounds_is_refused(chain: DevChain, entry: object) -> None:
    name, low, high = entry.name, entry.minimum, entry.maximum  # type: ignore[attr-defined]
    own = {
        "tempo": ("TempoOutOfBounds", "TempoOutOfBounds"),
        "reveal_period_epochs": ("RevealPeriodTooSmall", "RevealPeriodTooLarge"),
        "fee_rate": ("FeeRateTooHigh", "FeeRateTooHigh"),
        "root_claim_threshold": ("InvalidRootClaimThreshold", "InvalidRootClaimThreshold"),
    }
    expected = own.get(name, ("ValueNotInBounds", "ValueNotInBounds"))
    for value, error in zip((low - 1, high + 1), expected, strict=True):
        if -(1 << 64) <= value < 1 << 64:
            assert chain.command(f"sudo_set_{name}", 1, value) == error, value


@pytest.mark.parametrize("entry", GLOBAL, ids=lambda entry: entry.name)
def test_global_parameter_at_its_bounds_is_set_and_past_them_refused(chain: DevChain, entry: object) -> None:
    name, low, high = entry.name, entry.minimum, entry.maximum  # type: ignore[attr-defined]
    order = "sudo_set_min_childkey_take_everywhere" if name == "min_childkey_take" else f"sudo_set_{name}"
    assert chain.command(order, low) == "ok"
    assert chain.command(order, high) == "ok"
    assert chain.command(order, low - 1) == "ValueNotInBounds"


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("max_allowed_uids", 3, "ValueNotInBounds"),  # below the least and below n
        ("min_allowed_uids", 4, "ValueNotInBounds"),  # n is 4
        ("max_allowed_validators", 256, "ok"),
        ("min_burn", 900_000_000, "ok"),
        ("max_burn", 100_000_001, "ok"),
        ("mechanism_count", 3, "ValueNotInBounds"),
        ("mechanism_count", 2, "ValueNotInBounds"),  # 256 uids x 2
    ],
)
def test_bound_that_involves_another_parameter_holds(chain: DevChain, name: str, value: int, error: str) -> None:
    assert chain.command(f"sudo_set_{name}", 1, value) == error


@pytest.mark.parametrize(
    ("low", "high", "error"),
    [
        (1637, 65_535, "AlphaLowOutOfRange"),
        (58_983, 58_982, "AlphaLowOutOfRange"),
        (1638, 1637, "AlphaHighTooLow"),
        (1638, 65_536, "AlphaHighTooLow"),
        (1638, 1638, "ok"),
        (1638, 65_535, "ok"),
    ],
)
def test_liquid_rates_keep_their_order_and_floor(low: int, high: int, error: str) -> None:
    chain = DevChain(dev_spec(subnets=(subnet({"liquid_alpha_on": True}),)))
    assert chain.command("sudo_set_alpha_values", 1, low, high) == error
    expected = (low, high) if error == "ok" else (45_875, 58_982)
    assert (parameter(chain.state, 1, "alpha_low"), parameter(chain.state, 1, "alpha_high")) == expected


def test_liquid_rates_rest_while_liquid_alpha_is_off(chain: DevChain) -> None:
    assert chain.command("sudo_set_alpha_values", 1, 2000, 3000) == "LiquidAlphaDisabled"


@pytest.mark.parametrize(
    ("fraction", "whole", "error"),
    [
        (U64, 0, "ValueNotInBounds"),
        (0, 1, "ok"),
        (4796153458464448384, 1, "ok"),  # 1.26
        (0, 3, "ok"),
        (1, 3, "ValueNotInBounds"),
    ],
)
def test_price_multiplier_is_a_fixed_point_number_from_one_to_three(
    chain: DevChain, fraction: int, whole: int, error: str
) -> None:
    assert chain.command("sudo_set_burn_increase_mult", 1, fraction, whole) == error
    if error == "ok":
        assert chain.state.read_wide("subnets/burn_increase_multiplier", 1) == whole << 64 | fraction


@pytest.mark.parametrize(
    ("shares", "error"),
    [
        ((65_535,), "ok"),
        ((1, 65_534), "ok"),
        ((1, 65_535), "ValueNotInBounds"),
        ((1, 1, 65_533), "ValueNotInBounds"),
        ((-1, 65_536), "ValueNotInBounds"),
        ((), "AdminArgumentsMalformed"),
    ],
)
def test_emission_split_sums_to_all_over_at_most_the_mechanisms(shares: tuple[int, ...], error: str) -> None:
    chosen = {"mechanism_count": 2, "max_allowed_uids": 64}
    chain = DevChain(dev_spec(subnets=(subnet(chosen),)))
    assert chain.command("sudo_set_mechanism_emission_split", 1, *shares) == error
    assert mechanism_split(chain.state, 1) == (shares if error == "ok" else None)


def test_setting_the_mechanism_count_that_holds_leaves_the_split_and_another_count_evens_it() -> None:
    chain = DevChain(dev_spec(subnets=(subnet({"mechanism_count": 2, "max_allowed_uids": 64}),)))
    assert chain.command("sudo_set_mechanism_emission_split", 1, 65_535, 0) == "ok"
    assert chain.command("sudo_set_mechanism_count", 1, 2) == "ok"
    assert mechanism_split(chain.state, 1) == (65_535, 0)
    assert chain.command("sudo_set_mechanism_count", 1, 1) == "ok"
    assert mechanism_split(chain.state, 1) is None


@pytest.mark.parametrize("netuid", [0, 2, 1 << 40, -1])
def test_order_for_a_subnet_that_does_not_exist_fails(chain: DevChain, netuid: int) -> None:
    assert chain.command("sudo_set_kappa", netuid, 1) == "SubnetNotExists"


def test_parameters_rest_in_the_window_before_an_epoch_except_those_free_of_it(chain: DevChain) -> None:
    chain.skip_to(8)  # height 9 executes the order; the epoch is due at 10, the window is 2
    assert chain.command("sudo_set_rho", 1, 3) == "AdminActionProhibitedDuringWeightsWindow"
    chain.skip_to(18)
    assert chain.command("sudo_set_kappa", 1, 3) == "ok"


def test_tempo_starts_a_new_period_at_once(chain: DevChain) -> None:
    chain.skip_to(4)
    assert chain.command("sudo_set_tempo", 1, 3) == "ok"
    assert chain.state.read("subnets/last_epoch_block", 1) == 5
    chain.skip(2)
    assert not chain.outcomes[-1].epochs
    chain.skip(1)
    assert [epoch.netuid for epoch in chain.outcomes[-1].epochs] == [1]


def test_changing_the_price_bounds_moves_the_price_inside_from_the_next_block_on(chain: DevChain) -> None:
    assert chain.command("sudo_set_min_burn", 1, 900_000_000) == "ok"
    assert chain.state.read("subnets/burn", 1) < 900_000_000
    chain.skip(1)
    assert chain.state.read("subnets/burn", 1) == 900_000_000


def test_fewer_mechanisms_take_their_columns_along() -> None:
    chain = DevChain(dev_spec(subnets=(subnet({"max_allowed_uids": 64}),)))
    chain.skip(1)
    assert chain.command("sudo_set_mechanism_count", 1, 2) == "ok"
    assert chain.state.has("sn/1/1/weights")
    root = chain.state.root()
    chain.skip_to(10)
    assert chain.outcomes[-1].epochs
    assert chain.command("sudo_set_mechanism_count", 1, 1) == "ok"
    assert not chain.state.has("sn/1/1/weights")
    assert chain.state.root() != root
