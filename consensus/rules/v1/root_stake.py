"""Root dividends in the state: how they accrue to root stakers, follow their stake, and are claimed (DTAO 4.6).

A hotkey's rate says how much alpha of a subnet each rao of its root stake has earned; what a holder has claimed or
never had a right to is in `root_claimed`. Both are kept so that a change of root stake leaves what is owed as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import numpy as np

from ...fixed_point import I96F32, Q96
from ...state.column import StateOverflowError
from ...state.key_table import Part
from ...types import AccountId, Hash32
from ..interface import Event
from .dtao.root_claims import adjusted_claimed, auto_claim_indices, claim_amount, claimable_increment, owed
from .dtao.units import Alpha
from .errors import CallError
from .events import EventKind, event
from .markets import add_total_stake, sell
from .records import NO_SUBNET, RecordTag, get_record
from .root_index import add_root_holder, remove_root_holder, root_holder, root_holders
from .schema_tables import COLDKEYS, OF_NETUID, POSITIONS, ROOT_CLAIMED, ROOT_RATES
from .stakes import (
    ROOT,
    hotkey_owner,
    hotkey_stake,
    increase_position,
    position,
    position_key,
    positions_on_subnet,
    stake_key,
    staking_hotkeys,
)
from .subnets import global_parameter, parameter, subnet_exists

if TYPE_CHECKING:
    from ...state.state import State

OF_HOTKEY: Final[Part] = ((2, 34),)
"""Rates of one hotkey, on all subnets."""

SWEEP_ROWS: Final = 30
"""Positions looked at in each block for root holders that are not in the list (DTAO 4.6, sweep)."""

I64_MIN: Final = -(1 << 63)


class ClaimType(IntEnum):
    """What a coldkey does with its root dividends."""

    SWAP = 0
    """Sell them for TAO and stake that on root; the default."""
    KEEP = 1
    """Keep them as stake on their subnet."""
    KEEP_SUBNETS = 2
    """Keep those of the subnets it named, sell the others."""


# --- rates ------------------------------------------------------------------------------------------------------------


def root_rates(state: State, hotkey: bytes) -> list[tuple[int, I96F32]]:
    """RootClaimable: (netuid, alpha for each rao of root stake) of a hotkey, ascending."""
    table = state.key_table(ROOT_RATES)
    found = []
    for key in table.matching(OF_HOTKEY, bytes(hotkey)):
        row = table.find(key)
        assert row is not None
        found.append((int.from_bytes(key[:2], "big"), I96F32(state.read_wide("root_rates/rate", row))))
    return found


def claimed(state: State, netuid: int, hotkey: bytes, coldkey: bytes) -> int:
    """RootClaimed, a u128."""
    row = state.key_table(ROOT_CLAIMED).find(position_key(netuid, hotkey, coldkey))
    return 0 if row is None else state.read_wide("root_claimed/amount", row)


def write_claimed(state: State, netuid: int, hotkey: bytes, coldkey: bytes, amount: int) -> None:
    """Set RootClaimed; zero has no row."""
    table, key = state.key_table(ROOT_CLAIMED), position_key(netuid, hotkey, coldkey)
    if amount:
        state.write_wide("root_claimed/amount", table.open(key), amount)
    elif table.find(key) is not None:
        table.release(key)


def accrue_root_dividend(state: State, netuid: int, hotkey: bytes, alpha: int) -> I96F32 | None:
    """Alpha for a hotkey's root stakers: it raises the rate, or goes to the owner when it exceeds the root stake.

    Gives what the rate rose by, None when the owner got it.
    """
    increment = claimable_increment(Alpha(alpha), hotkey_stake(state, ROOT, hotkey))
    if increment is None:
        coldkey = hotkey_owner(state, hotkey)
        if coldkey is not None:
            increase_position(state, netuid, hotkey, coldkey, alpha)
        return None
    row = state.key_table(ROOT_RATES).open(stake_key(netuid, hotkey))
    rate = Q96.add(I96F32(state.read_wide("root_rates/rate", row)), increment)
    state.write_wide("root_rates/rate", row, rate)
    return increment


def adjust_root_claims(state: State, hotkey: bytes, coldkey: bytes, change: int) -> None:
    """Keep what is owed as it is after the root stake of (hotkey, coldkey) changed by `change` (stake adjustment)."""
    if change == 0:
        return
    for netuid, rate in root_rates(state, hotkey):
        before = claimed(state, netuid, hotkey, coldkey)
        write_claimed(state, netuid, hotkey, coldkey, adjusted_claimed(before, rate, change))


def note_root_holder(state: State, coldkey: bytes) -> None:
    """Keep the auto-claim list in step: whoever holds root stake anywhere is in it."""
    if any(held for _, held in positions_on_subnet(state, ROOT, coldkey)):
        add_root_holder(state, coldkey)
    else:
        remove_root_holder(state, coldkey)


def forget_root_dividends(state: State, netuid: int) -> None:
    """Drop all rates and claims of a subnet that is dissolved: unclaimed dividends are lost (DTAO 8.6)."""
    for name in (ROOT_RATES, ROOT_CLAIMED):
        table = state.key_table(name)
        for key in table.matching(OF_NETUID, netuid.to_bytes(2, "big")):
            table.release(key)


# --- claims -----------------------------------------------------------------------------------------------------------


def keeps_dividends(state: State, coldkey: bytes, netuid: int) -> bool:
    """Whether a coldkey keeps its root dividends of a subnet as stake there instead of selling them."""
    row = state.key_table(COLDKEYS).find(coldkey)
    chosen = ClaimType.SWAP if row is None else ClaimType(state.read("coldkeys/claim_type", row))
    if chosen is ClaimType.KEEP_SUBNETS:
        packed = get_record(state, RecordTag.CLAIM_SUBNETS, NO_SUBNET, coldkey) or b""
        return netuid in np.frombuffer(packed, dtype="<u2").tolist()
    return chosen is ClaimType.KEEP


def owed_dividend(state: State, netuid: int, hotkey: bytes, coldkey: bytes, rate: I96F32) -> I96F32:
    """Alpha of a subnet that a coldkey may claim under a hotkey, fractions included."""
    return owed(rate, position(state, ROOT, hotkey, coldkey), claimed(state, netuid, hotkey, coldkey))


def claim_root_dividends(state: State, coldkey: AccountId, netuids: Sequence[int] | None) -> list[Event]:
    """Claim a coldkey's root dividends of some subnets, or of all, under each of its hotkeys in order.

    Raises CallError when a sale fails: the caller undoes everything then.
    """
    events = []
    for hotkey in staking_hotkeys(state, coldkey):
        held = position(state, ROOT, hotkey, coldkey)
        if not held:  # then nothing is owed: most hotkeys are staked on subnets alone
            continue
        for netuid, rate in root_rates(state, hotkey):
            if (netuids is None or netuid in netuids) and subnet_exists(state, netuid):
                threshold = Alpha(parameter(state, netuid, "root_claim_threshold"))
                amount = claim_amount(owed(rate, held, claimed(state, netuid, hotkey, coldkey)), threshold)
                if amount:
                    events.append(_claim(state, netuid, hotkey, coldkey, amount))
                    held = position(state, ROOT, hotkey, coldkey)
    if events:
        note_root_holder(state, coldkey)
    return events


def _claim(state: State, netuid: int, hotkey: AccountId, coldkey: AccountId, alpha: Alpha) -> Event:
    tao = 0
    if keeps_dividends(state, coldkey, netuid):
        increase_position(state, netuid, hotkey, coldkey, alpha)
    else:
        tao = sell(state, netuid, alpha, drop_fees=True).paid_out
        _stake_on_root(state, netuid, hotkey, coldkey, tao)
    write_claimed(state, netuid, hotkey, coldkey, claimed(state, netuid, hotkey, coldkey) + alpha)
    return event(EventKind.RootClaimed, coldkey, hotkey, netuid, alpha, tao)


def _stake_on_root(state: State, netuid: int, hotkey: bytes, coldkey: bytes, tao: int) -> None:
    """Proceeds of a claim move from the subnet to root and become the claimant's stake there."""
    state.add("subnets/account", netuid, -tao)
    for name in ("account", "tao_reserve", "alpha_out"):
        state.add(f"subnets/{name}", ROOT, tao)
    increase_position(state, ROOT, hotkey, coldkey, tao)
    add_total_stake(state, tao)
    adjust_root_claims(state, hotkey, coldkey, tao)
    state.add("subnets/root_sell_tao", netuid, tao)
    flow = int(state.read("subnets/protocol_flow", netuid))
    state.write("subnets/protocol_flow", netuid, max(flow - tao, I64_MIN))


def claim_by_itself(state: State, parent_hash: Hash32) -> list[Event]:
    """Auto-claim: the parent's hash draws some root holders, whose dividends of all subnets are claimed.

    One that fails leaves no effect and hinders nobody.
    """
    events = []
    draws = global_parameter(state, "num_root_claim")
    drawn = [root_holder(state, place) for place in auto_claim_indices(parent_hash, draws, root_holders(state))]
    for coldkey in drawn:
        if coldkey is None:
            continue
        mark = state.begin()
        try:
            events += claim_root_dividends(state, coldkey, None)
        except (CallError, StateOverflowError):
            state.rollback(mark)
        else:
            state.commit(mark)
    return events


def sweep_root_holders(state: State) -> None:
    """Look at the next rows of the positions for root holders that came by a transfer and are not in the list."""
    rows = state.rows("positions/used")
    if not rows:
        return
    start = int(state.read("chain/sweep_cursor", 0)) % rows
    stop = min(start + SWEEP_ROWS, rows)
    keys, used = state.array(f"{POSITIONS}/key")[start:stop], state.array(f"{POSITIONS}/used")[start:stop]
    on_root = (used == 1) & (keys[:, 0] == 0) & (keys[:, 1] == 0)
    for at in np.flatnonzero(on_root).tolist():
        add_root_holder(state, keys[at, 34:66].tobytes())
    state.write("chain/sweep_cursor", 0, stop % rows)
