"""Buying and selling stake: the two operations every staking call is made of (DTAO 6.2, 6.3), and small nominations.

Checks of the calls are in `stake_checks`; here only what the books and the pool demand is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ...fixed_point import U64F64, UQ64
from ...types import AccountId
from ..interface import BlockContext, Event
from .author import author_coldkey, pay_author
from .authorities import check_bond
from .balances import can_receive, credit, debit, free_balance
from .dtao.pool import MAX_PRICE, MIN_PRICE
from .errors import CallError, ErrorCode
from .events import EventKind, event
from .locks import clean_up_lock, reduce_lock, require_room
from .markets import buy, sell, spot
from .root_stake import adjust_root_claims, note_root_holder
from .schema_tables import POSITIONS
from .stakes import (
    ROOT,
    decrease_position,
    enough_precision,
    hotkey_owner,
    increase_position,
    position,
)
from .subnets import global_parameter

if TYPE_CHECKING:
    from ...state.state import State

MIN_STAKE: Final = 2_000_000
"""DefaultMinStake in rao: smaller moves are not worth a row."""

MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Traded:
    """What one purchase or sale of stake did."""

    tao: int
    """Rao given, or gained."""
    alpha: int
    """Stake gained, or sold."""
    fee: int
    """In the currency that was brought; for the block's author."""
    event: Event


def stake_into(
    state: State,
    ctx: BlockContext,
    hotkey: AccountId,
    coldkey: AccountId,
    netuid: int,
    tao: int,
    limit: U64F64 = MAX_PRICE,
    *,
    drop_fees: bool = False,
) -> Traded:
    """Buy stake with a coldkey's free TAO, keeping its existential deposit (DTAO 6.2). Raises CallError."""
    moved = min(tao, max(free_balance(state, coldkey) - ctx.spec.existential_deposit, 0))
    if tao and not moved:
        raise CallError(ErrorCode.InsufficientBalance)
    debit(state, coldkey, moved)
    state.add("subnets/account", netuid, moved)
    done = buy(state, netuid, moved, limit, drop_fees=drop_fees)
    if done.paid_out == 0:
        raise CallError(ErrorCode.AmountTooLow)
    if not enough_precision(state, netuid, hotkey, done.paid_out):
        raise CallError(ErrorCode.InsufficientLiquidity)
    require_room(state, netuid, hotkey, coldkey)
    increase_position(state, netuid, hotkey, coldkey, done.paid_out)
    if done.fee:
        state.add("subnets/account", netuid, -done.fee)
        pay_author(state, ctx, done.fee)
    clean_up_lock(state, netuid, coldkey, ctx.height)
    if netuid == ROOT:
        adjust_root_claims(state, hotkey, coldkey, done.paid_out)
        note_root_holder(state, coldkey)
    happened = event(EventKind.StakeAdded, coldkey, hotkey, moved, done.paid_out, netuid, done.fee)
    return Traded(moved, done.paid_out, done.fee, happened)


def unstake_from(
    state: State,
    ctx: BlockContext,
    hotkey: AccountId,
    coldkey: AccountId,
    beneficiary: AccountId,
    netuid: int,
    alpha: int,
    limit: U64F64 = MIN_PRICE,
    *,
    drop_fees: bool = False,
) -> Traded:
    """Sell stake that a coldkey holds and give the TAO to `beneficiary` (DTAO 6.3). Raises CallError.

    What the limit leaves unsold goes back to the position. The fee is alpha that is sold for the author.
    """
    decrease_position(state, netuid, hotkey, coldkey, alpha)
    done = sell(state, netuid, alpha, limit, drop_fees=drop_fees)
    increase_position(state, netuid, hotkey, coldkey, alpha - done.paid_in - done.fee)
    _pay_out(state, ctx, beneficiary, netuid, done.paid_out)
    _sell_fee(state, ctx, netuid, done.fee)
    if netuid == ROOT:
        adjust_root_claims(state, hotkey, coldkey, -done.paid_in)
        note_root_holder(state, coldkey)
    clean_up_lock(state, netuid, coldkey, ctx.height)
    happened = event(EventKind.StakeRemoved, coldkey, hotkey, done.paid_out, done.paid_in, netuid, done.fee)
    return Traded(done.paid_out, done.paid_in, done.fee, happened)


def _pay_out(state: State, ctx: BlockContext, beneficiary: AccountId, netuid: int, tao: int) -> None:
    if not can_receive(state, beneficiary, tao, ctx.spec.existential_deposit):
        raise CallError(ErrorCode.ExistentialDeposit)
    state.add("subnets/account", netuid, -tao)
    credit(state, beneficiary, tao)


def _sell_fee(state: State, ctx: BlockContext, netuid: int, fee: int) -> None:
    """The author gets the fee in TAO; without an author it is alpha that nobody can move any more."""
    if not fee:
        return
    if author_coldkey(state, ctx) is None:
        state.add("subnets/alpha_burned", netuid, fee)
        return
    proceeds = sell(state, netuid, fee, drop_fees=True).paid_out
    state.add("subnets/account", netuid, -proceeds)
    pay_author(state, ctx, proceeds)


# --- small nominations ------------------------------------------------------------------------------------------------


def least_nomination(factor: int) -> int:
    """Rao below which a nomination is closed, by the governance's factor in millionths (DTAO 6.5)."""
    return MIN_STAKE * factor // MILLION


def close_small_nomination(
    state: State, ctx: BlockContext, hotkey: AccountId, coldkey: AccountId, netuid: int
) -> list[Event]:
    """Close what is left of a nomination if it is too small; the owner's own stake may be of any size.

    So may the part of an authority's root stake that is bonded.
    """
    least = least_nomination(global_parameter(state, "nominator_min_required_stake"))
    if not least or coldkey == hotkey_owner(state, hotkey):
        return []
    held = position(state, netuid, hotkey, coldkey)
    if not 0 < held < UQ64.to_u64(UQ64.div_or_zero(UQ64.from_int(least), spot(state, netuid))):
        return []
    try:
        check_bond(state, ctx, hotkey, netuid, held)
    except CallError:
        return []
    mark = state.begin()
    events: list[Event] = []
    try:
        events = [unstake_from(state, ctx, hotkey, coldkey, coldkey, netuid, held).event]
    except CallError:
        state.rollback(mark)
        _delete_stake(state, netuid, hotkey, coldkey, held)
    else:
        state.commit(mark)
    reduce_lock(state, netuid, coldkey, held, ctx.height)
    return events


def _delete_stake(state: State, netuid: int, hotkey: AccountId, coldkey: AccountId, held: int) -> None:
    """Take a position that the pool does not buy back. The alpha stays outstanding; root's TAO is burned."""
    decrease_position(state, netuid, hotkey, coldkey, held)
    if netuid == ROOT:
        for name in ("account", "tao_reserve", "alpha_out"):
            state.add(f"subnets/{name}", ROOT, -held)
        state.add("chain/burned", 0, held)
        adjust_root_claims(state, hotkey, coldkey, -held)
        note_root_holder(state, coldkey)


def sweep_small_nominations(state: State, ctx: BlockContext) -> list[Event]:
    """Close every nomination that a raised minimum has made too small, in key order."""
    events: list[Event] = []
    for key, _ in state.key_table(POSITIONS).items():
        netuid, hotkey, coldkey = int.from_bytes(key[:2], "big"), AccountId(key[2:34]), AccountId(key[34:])
        events += close_small_nomination(state, ctx, hotkey, coldkey, netuid)
    return events
