"""Every error that the code of a call can name is produced by a test, or a reason says why it cannot come.

The tables are those of the calls' own test modules: each entry begins with the call and the error.
"""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path

from call_graph import errors_in_code
from yumad.consensus.rules.v1.calls.table import CALLS
from yumad.consensus.rules.v1.errors import ErrorCode

Pair = tuple[str, str]

CALL_NAMES = frozenset(call.name for call in CALLS)
ERROR_NAMES = frozenset(error.name for error in ErrorCode)
HERE = Path(__file__).parent

OWN_TESTS: dict[Pair, str] = {
    ("authority.register", "NotEnoughRootStake"): "test_authorities",
    ("authority.register", "BadProofOfPossession"): "test_authorities",
    ("authority.register", "AuthorityKeyInUse"): "test_authorities",
    ("authority.register", "AuthorityKeyUnchanged"): "test_authorities",
    ("authority.heartbeat", "HeartbeatTooSoon"): "test_authorities",
    ("authority.heartbeat", "NotAnAuthority"): "test_authorities",
    ("authority.heartbeat", "InvalidPeerId"): "test_authorities",
    ("authority.heartbeat", "NotEnoughRootStake"): "test_authorities",
    ("stake.set_children", "NotEnoughStakeToSetChildkeys"): "test_children",
}
"""Pairs with a test of their own in a module, outside its table."""

_NO_LIMIT = "the call names no limit, so no price is too far"
_HAS_ACCOUNT = "whoever signs a paid call holds the existential deposit, so a payment to it is never refused"
_CHECKED_BEFORE = "the balance was checked just before it is taken"
_LEFT_OUT = "a position that fails a check of remove_stake stays where it is, and the call goes on"
_OWN_LOCK = "stake stays with its coldkey, so no other's lock is met"
_ADOPTION = "a root validator whose own checks fail does not become a parent, and the call goes on"
_WHOLE = "the amount is the whole position; an empty one is AmountTooLow before"
_SIMULATED = "the order is simulated first, and what a pool refuses there is InsufficientLiquidity"
_NOT_MADE = "only a pool that is made for a price can be out of balance, and no call makes one"
_TO_ROOT = "its proceeds go to root, where nothing can be locked"

_SALES = ("stake.remove_stake", "stake.remove_stake_limit", "stake.remove_stake_full_limit")
_MOVES = ("stake.move_stake", "stake.swap_stake", "stake.swap_stake_limit")
_ALL = ("stake.unstake_all", "stake.unstake_all_alpha")
_TRADES = (
    *("stake.add_stake", "stake.add_stake_limit", "stake.add_stake_burn", "stake.transfer_stake", "root.claim_root"),
    *("neuron.burned_register", "neuron.register_limit", "neuron.register"),
    *(*_SALES, *_MOVES, *_ALL),
)
_CREATIONS = ("subnet.register_network", "subnet.register_network_with_identity")

UNREACHABLE: dict[Pair, str] = {
    **{(call, "ReservesOutOfBalance"): _NOT_MADE for call in _TRADES},
    **{
        ("stake.add_stake", error): _SIMULATED
        for error in ("PriceLimitExceeded", "ReservesTooLow", "SwapInputTooLarge")
    },
    **{(call, "SwapInputTooLarge"): _SIMULATED for call in ("stake.add_stake_burn", *_SALES)},
    ("stake.remove_stake", "PriceLimitExceeded"): _SIMULATED,
    **{(call, error): _LEFT_OUT for call in _ALL for error in ("PriceLimitExceeded", "SwapInputTooLarge")},
    **{(call, "ExistentialDeposit"): _HAS_ACCOUNT for call in (*_SALES, *_MOVES, *_ALL)},
    **{(call, "SlippageTooHigh"): _NO_LIMIT for call in ("stake.remove_stake", "stake.move_stake", "stake.swap_stake")},
    ("stake.transfer_stake", "SlippageTooHigh"): _NO_LIMIT,
    **{(call, error): _OWN_LOCK for call in _MOVES for error in ("AccountRejectsLockedAlpha", "LockHotkeyMismatch")},
    **{(call, "InsufficientBalance"): _CHECKED_BEFORE for call in (*_MOVES, "stake.transfer_stake")},
    ("stake.add_stake_burn", "InsufficientBalance"): _CHECKED_BEFORE,
    ("stake.unstake_all_alpha", "InsufficientBalance"): "proceeds come in before they are spent, on top of the deposit",
    ("stake.remove_stake_full_limit", "HotKeyAccountNotExists"): "there is no position on a hotkey nobody has",
    ("stake.remove_stake_full_limit", "NotEnoughStakeToWithdraw"): _WHOLE,
    **{
        (call, error): _LEFT_OUT
        for call in _ALL
        for error in (
            "AuthorityBonded",
            "HotKeyAccountNotExists",
            "InsufficientLiquidity",
            "NotEnoughStakeToWithdraw",
            "SlippageTooHigh",
            "StakeUnavailable",
            "SubnetNotExists",
        )
    },
    ("stake.unstake_all_alpha", "TooManyLockedPositions"): _TO_ROOT,
    **{
        (call, error): _ADOPTION
        for call in _CREATIONS
        for error in (
            "ChildParentInconsistency",
            "DuplicateChild",
            "InvalidChild",
            "NotEnoughStakeToSetChildkeys",
            "ProportionOverflow",
            "RegistrationNotPermittedOnRootSubnet",
            "SubnetNotExists",
            "TooManyChildren",
            "TxRateLimitExceeded",
        )
    },
    **{(f"keys.{call}", "InsufficientBalance"): _CHECKED_BEFORE for call in ("swap_hotkey", "swap_hotkey_v2")},
    ("keys.announce_coldkey_swap", "InsufficientBalance"): _CHECKED_BEFORE,
    (
        "keys.announce_coldkey_swap",
        "ColdkeySwapAnnouncementNotFound",
    ): "it is asked only where there is an announcement",
    ("keys.swap_coldkey_announced", "InsufficientBalance"): "it moves exactly what there is",
}


@cache
def tables() -> tuple[frozenset[Pair], dict[Pair, str]]:
    """Pairs that tests produce, and those declared unreachable with their reasons."""
    produced: set[Pair] = set()
    unreachable: dict[Pair, str] = dict(UNREACHABLE)
    for path in sorted(HERE.glob("test_*.py")):
        if path == Path(__file__) or "FAILURES" not in path.read_text():
            continue
        module = importlib.import_module(path.stem)
        for name in dir(module):
            if name.endswith("FAILURES") or name == "UNKNOWN_ORDERS":
                produced |= {
                    (case[0], case[1])
                    for case in getattr(module, name)
                    if len(case) > 1 and case[0] in CALL_NAMES and case[1] in ERROR_NAMES
                }
        unreachable |= getattr(module, "UNREACHABLE", {})
    return frozenset(produced), unreachable


def test_every_error_of_every_call_is_produced_or_explained(repository_root: Path) -> None:
    produced, unreachable = tables()
    in_code = {(call, error) for call, errors in errors_in_code(repository_root).items() for error in errors}
    missing = sorted(in_code - produced - set(unreachable) - set(OWN_TESTS))
    assert not missing, f"{len(missing)} pairs have neither a test nor a reason: {missing}"
    assert len(produced) + len(OWN_TESTS) >= 450


def test_no_pair_is_both_produced_and_called_unreachable() -> None:
    produced, unreachable = tables()
    assert not sorted(produced & set(unreachable))
    assert all(unreachable.values())


def test_pairs_named_here_exist_and_their_tests_name_the_error() -> None:
    for (call, error), module in OWN_TESTS.items():
        assert call in CALL_NAMES
        assert error in (HERE / f"{module}.py").read_text()
    assert all(call in CALL_NAMES and error in ERROR_NAMES for call, error in UNREACHABLE)


NUMBERED_CHECKS = (
    "CommitRevealEnabled",
    "CanNotSetRootNetworkWeights",
    "WeightVecNotEqualSize",
    "MechanismDoesNotExist",
    "UidsLengthExceedUidsInSubNet",
    "HotKeyNotRegisteredInSubNet",
    "NotEnoughStakeToSetWeights",
    "IncorrectWeightVersionKey",
    "SettingWeightsTooFast",
    "NeuronNoValidatorPermit",
    "DuplicateUids",
    "UidVecContainInvalidOne",
    "WeightVecLengthIsLow",
    "MaxWeightExceeded",
)
"""YUMA 5.1, numbers 0 to 13."""


def test_numbered_checks_of_weights_are_produced_or_explained() -> None:
    produced, unreachable = tables()
    for call in ("weights.set_weights", "weights.set_mechanism_weights"):
        for error in NUMBERED_CHECKS:
            assert (call, error) in produced or (call, error) in unreachable, (call, error)
