"""Registering a subnet: its price, its number, its first pool and everything it starts with (DTAO 8.1-8.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...profiles import profile_named
from ...types import AccountId, Rao
from ..interface import BlockContext, Event
from .balances import debit, free_balance
from .children import adopt_owner_hotkey
from .dtao.pool import DEFAULT_QUOTE_WEIGHT
from .dtao.subnet_market import LockTerms, first_pool, lock_cost, median_price
from .dtao.units import DYNAMIC
from .errors import CallError, ErrorCode
from .events import EventKind, event
from .identities import SUBNET_FIELDS, check_identity, set_subnet_identity
from .markets import add_total_stake, is_system_account, spot
from .registration import place_registered
from .schedule import first_last_epoch_block
from .stakes import associate_hotkey, hotkey_owner
from .subnet_dissolution import INHERITED, dissolve_subnet, prune_victim
from .subnets import (
    global_parameter,
    netuids,
    open_mechanisms,
    open_subnet_rows,
    write_hyperparameters,
)
from .symbols import next_symbol

if TYPE_CHECKING:
    from ...state.state import State


def current_lock_cost(state: State, height: int) -> Rao:
    """Rao that a new subnet costs now (DTAO 8.2)."""
    terms = LockTerms(
        lowest=Rao(global_parameter(state, "network_min_lock_cost")),
        last_cost=Rao(int(state.read("chain/last_lock_cost", 0))),
        last_block=int(state.read("chain/last_lock_block", 0)),
        reduction_interval=global_parameter(state, "network_lock_reduction_interval"),
    )
    return lock_cost(terms, height, Rao(int(state.read("chain/issuance", 0))))


def register_network(
    state: State, ctx: BlockContext, coldkey: AccountId, hotkey: AccountId, identity: Sequence[bytes] | None
) -> list[Event]:
    """Create a subnet of `coldkey` with `hotkey` as its uid 0; checks in the spec's order. Raises CallError."""
    height = ctx.height
    if hotkey_owner(state, hotkey) not in (None, coldkey):
        raise CallError(ErrorCode.NonAssociatedColdKey)
    if is_system_account(hotkey):
        raise CallError(ErrorCode.CannotUseSystemAccount)
    if height < global_parameter(state, "network_registration_start_block"):
        raise CallError(ErrorCode.SubNetRegistrationDisabled)
    last = int(state.read("chain/last_lock_block", 0))
    if last and height - last < global_parameter(state, "network_rate_limit"):
        raise CallError(ErrorCode.NetworkTxRateLimitExceeded)
    victim: int | None = None
    if len(netuids(state)) >= global_parameter(state, "subnet_limit"):
        victim = prune_victim(state, height)
        if victim is None:
            raise CallError(ErrorCode.SubnetLimitReached)
    cost = current_lock_cost(state, height)
    if free_balance(state, coldkey) < cost:
        raise CallError(ErrorCode.CannotAffordLockCost)
    events: list[Event] = []
    if victim is not None:
        events += dissolve_subnet(state, ctx, victim)
    netuid = _lowest_free(state) if victim is None else victim
    if associate_hotkey(state, hotkey, coldkey):
        events.append(event(EventKind.HotkeyAssociated, coldkey, hotkey))
    _open(state, ctx, netuid, coldkey, hotkey, _take_lock(state, ctx, coldkey, cost))
    events += place_registered(state, ctx, netuid, 0, hotkey)
    if identity is not None:
        check_identity(identity, SUBNET_FIELDS)
        set_subnet_identity(state, netuid, identity)
        events.append(event(EventKind.SubnetIdentitySet, netuid))
    events += adopt_owner_hotkey(state, ctx, netuid, hotkey)
    return [
        *events,
        event(EventKind.SubnetOwnerHotkeySet, netuid, hotkey),
        event(EventKind.NetworkAdded, netuid, DYNAMIC),
    ]


def _lowest_free(state: State) -> int:
    taken = netuids(state)
    return next(number for number in range(1, len(taken) + 2) if number not in taken)


def _take_lock(state: State, ctx: BlockContext, coldkey: AccountId, cost: Rao) -> Rao:
    """Take the price from the owner, who keeps the existential deposit and then pays so much less (DTAO 13.38)."""
    paid = Rao(min(cost, max(free_balance(state, coldkey) - ctx.spec.existential_deposit, 0)))
    if cost and not paid:
        raise CallError(ErrorCode.InsufficientBalance)
    debit(state, coldkey, paid)
    return paid


def _open(state: State, ctx: BlockContext, netuid: int, coldkey: AccountId, hotkey: AccountId, paid: Rao) -> None:
    """Write everything a subnet starts with; what was paid for it is its pool."""
    median = median_price([spot(state, number) for number in netuids(state)])
    # No reserve that nobody paid: an owner short of the existential deposit may have paid less than the lowest cost.
    lowest = min(Rao(global_parameter(state, "network_min_lock_cost")), paid)
    pool = first_pool(paid, lowest, median)
    number = next_symbol(state)
    open_subnet_rows(state, netuid)
    kept = {name: int(state.read(f"subnets/{name}", netuid)) for name in INHERITED}
    chosen = profile_named(ctx.spec.profile).hyperparameters
    write_hyperparameters(state, netuid, chosen)
    if state.read("subnets/reused", netuid):
        for name, value in kept.items():
            state.write(f"subnets/{name}", netuid, value)
    values = {
        "registered_at": ctx.height,
        "last_epoch_block": first_last_epoch_block(netuid, chosen.tempo, ctx.height),
        "subnet_mechanism": DYNAMIC,
        "account": paid,
        "tao_reserve": pool.tao,
        "alpha_reserve": pool.alpha,
        "quote_weight": DEFAULT_QUOTE_WEIGHT,
        "locked": paid,
        "symbol": number,
        "emission_enabled": int(ctx.spec.emission_on_registration),
        "subtoken_enabled": 0,
    }
    for name, value in values.items():
        state.write(f"subnets/{name}", netuid, value)
    state.write("subnets/owner", netuid, np.frombuffer(coldkey, dtype=np.uint8))
    state.write("subnets/owner_hotkey", netuid, np.frombuffer(hotkey, dtype=np.uint8))
    open_mechanisms(state, netuid, 0, chosen.mechanism_count)
    add_total_stake(state, pool.tao)
    state.write("chain/last_lock_cost", 0, paid)
    state.write("chain/last_lock_block", 0, ctx.height)
