"""Free TAO balances: paying, receiving, the existential deposit and reaping (DTAO 9 and 14, CHAIN 4.2).

`chain/issuance` (TotalIssuance) always equals all free balances, the subnets' accounts and `chain/burned`, and what was
ever minted less what was recycled. Moving TAO never changes it; dust of a reaped account lowers it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...types import AccountId
from .errors import CallError, ErrorCode
from .events import EventKind, event

if TYPE_CHECKING:
    from ...state.state import State
    from ..interface import Event


def current_height(state: State) -> int:
    """Height of the block being executed; of the last executed one between blocks."""
    return int(state.read("chain/height", 0))


def free_balance(state: State, account: AccountId | bytes) -> int:
    """Free rao of an account, 0 for one that does not exist."""
    row = state.accounts().find(account, current_height(state))
    return 0 if row is None else int(state.read("accounts/free", row))


def credit(state: State, account: AccountId | bytes, amount: int) -> None:
    """Add rao to an account, opening it if need be. The caller has checked the existential deposit."""
    if amount == 0:
        return
    row = state.accounts().open(account, current_height(state))
    state.add("accounts/free", row, amount)


def debit(state: State, account: AccountId | bytes, amount: int) -> None:
    """Take rao from an account; one that has nothing left is reaped.

    Raises CallError(InsufficientBalance) for more than it has.
    """
    height = current_height(state)
    row = state.accounts().find(account, height)
    free = 0 if row is None else int(state.read("accounts/free", row))
    if free < amount:
        raise CallError(ErrorCode.InsufficientBalance)
    if row is None or amount == 0:
        return
    state.write("accounts/free", row, free - amount)
    if free == amount:
        state.accounts().reap(row, height)


def burn(state: State, amount: int) -> None:
    """Account for rao that were taken from somebody and belong to nobody from now on; issuance stays."""
    state.add("chain/burned", 0, amount)


def mint(state: State, amount: int) -> None:
    """Bring new rao into the issuance; the caller puts them somewhere."""
    state.add("chain/issuance", 0, amount)
    state.add("chain/minted", 0, amount)


def recycle(state: State, amount: int) -> None:
    """Take rao out of the issuance that were taken from somebody; they may be minted again."""
    state.add("chain/issuance", 0, -amount)
    state.add("chain/recycled", 0, amount)


def can_receive(state: State, account: AccountId | bytes, amount: int, existential_deposit: int) -> bool:
    """Whether the account would hold at least the existential deposit with `amount` more."""
    return free_balance(state, account) + amount >= existential_deposit


def transfer(
    state: State,
    source: AccountId,
    target: AccountId,
    amount: int,
    *,
    existential_deposit: int,
    keep_alive: bool,
) -> list[Event]:
    """Move free rao (DTAO 9).

    Raises CallError: InsufficientBalance, ExistentialDeposit (the receiver would stay below it), Expendability (with
    `keep_alive`, the sender would fall below it). Without `keep_alive` a sender that falls below is reaped and the dust
    leaves the issuance.
    """
    free = free_balance(state, source)
    if free < amount:
        raise CallError(ErrorCode.InsufficientBalance)
    moved = event(EventKind.Transfer, source, target, amount)
    if source == target:
        return [moved]
    if not can_receive(state, target, amount, existential_deposit):
        raise CallError(ErrorCode.ExistentialDeposit)
    rest = free - amount
    if keep_alive and rest < existential_deposit:
        raise CallError(ErrorCode.Expendability)
    events = [moved]
    if rest >= existential_deposit:
        debit(state, source, amount)
    else:
        debit(state, source, free)
        recycle(state, rest)
        events.append(event(EventKind.AccountReaped, source, rest))
    credit(state, target, amount)
    return events
