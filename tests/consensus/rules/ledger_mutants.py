"""Planted bugs: wrong roundings, wrong orders, missing checks. The random world or the vectors must catch each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from yumad.consensus.rules.v1 import balances, execution, stake_checks, stakes, trading
from yumad.consensus.rules.v1.calls import neuron as neuron_calls
from yumad.consensus.rules.v1.dtao import accrual, pool
from yumad.consensus.rules.v1.errors import CallError
from yumad.consensus.state.state import State
from yumad.consensus.types import AccountId


@dataclass(frozen=True)
class Mutant:
    """One bug and how long the world may take to show it."""

    name: str
    plant: Callable[[pytest.MonkeyPatch], None]
    seeds: int = 6
    blocks: int = 150


def _fee_rounded_up(patch: pytest.MonkeyPatch) -> None:
    pay = trading.pay_author
    patch.setattr(trading, "pay_author", lambda state, ctx, amount: pay(state, ctx, amount + 1))


def _holding_rounded_up(patch: pytest.MonkeyPatch) -> None:
    exact = stakes.holding
    patch.setattr(stakes, "holding", lambda pool, share: exact(pool, share) + 1 if share.mantissa else 0)


def _effects_before_checks(patch: pytest.MonkeyPatch) -> None:
    """A failed call keeps what it had done before the check that failed."""

    def run(state: Any, ctx: Any, call: Any, signer: Any, args: Any) -> tuple[int, tuple[Any, ...]]:
        try:
            return 0, tuple(call.execute(state, ctx, signer, args))
        except CallError as error:
            return int(error.number), ()

    patch.setattr(execution, "_run", run)


def _stake_paid_before_it_is_taken(patch: pytest.MonkeyPatch) -> None:
    """A sale whose alpha is taken from a position that an earlier step has emptied: nothing is taken, TAO is paid."""
    patch.setattr(trading, "decrease_position", lambda *_: None)


def _second_uid_for_a_hotkey(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(neuron_calls, "uid_of", lambda *_: None)


def _more_spent_than_there_is(patch: pytest.MonkeyPatch) -> None:
    """What is missing to a debit comes from nowhere."""

    def debit(state: State, account: AccountId, amount: int) -> None:
        taken = min(amount, balances.free_balance(state, account))
        balances.debit(state, account, taken)

    patch.setattr(trading, "debit", debit)
    for module in (trading, stake_checks):
        patch.setattr(module, "free_balance", lambda *_: 2**63)


WORLD = [
    Mutant("rounding: a fee of one rao more than the trader paid", _fee_rounded_up),
    Mutant("rounding: positions are rounded up", _holding_rounded_up),
    Mutant("order: a call works before it checks", _effects_before_checks),
    Mutant("order: TAO is paid out, and no alpha was taken", _stake_paid_before_it_is_taken),
    Mutant("missing check: a hotkey registers twice", _second_uid_for_a_hotkey),
    Mutant("missing check: more is spent than there is", _more_spent_than_there_is),
]


def _fee_floor_is_ceiling(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(pool, "swap_fee", lambda amount, rate: -(-amount * rate // 65_535))


def _owner_cut_after_root(patch: pytest.MonkeyPatch) -> None:
    def split(alpha: Any, owner_cut: Any, root_share: Any) -> accrual.AlphaSplit:
        root = (root_share * alpha >> 32) >> 1
        cut = (alpha - root) * owner_cut >> 32
        server = (alpha - cut) >> 1
        parts = (cut, server, alpha - cut - server - root, root)
        return accrual.AlphaSplit(*(part >> 32 for part in parts))

    patch.setattr(accrual, "split_alpha", split)


def _no_cap_on_root(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(accrual, "root_proportion", lambda root, alpha: root if root < 1 << 32 else (1 << 32))


VECTORS = [
    Mutant("rounding: a swap's fee rounds up", _fee_floor_is_ceiling),
    Mutant("order: the owner's cut is taken after root's part", _owner_cut_after_root),
    Mutant("missing step: root's part is not of its share of the alpha", _no_cap_on_root),
]
