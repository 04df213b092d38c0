"""Everything that happens at the start of a block, before its transactions, in the order of DTAO section 3 (YUMA 7.1).

1. Old hotkey-swap records expire. 2. Registration prices fall, root's counters are reset. 3. and 5. The mint, injection
and chain buys, accrual, the epoch clocks; then ownership by conviction and the payout of due epochs. 4. Matured
timelocked weights are revealed before all that. 6. Moving prices. 8. Pending sets of children. 9. Auto-claim. 10. Its
index sweep. (Step 7, the stored root proportion, is derived on reading.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...types import Height, Rao
from ..interface import BlockContext, EpochSummary, Event
from .children import apply_pending_children
from .dtao.coinbase import run_block
from .economy_columns import read_economy, write_economy
from .events import EventKind, event
from .ownership import change_owner_by_conviction
from .root_stake import claim_by_itself, sweep_root_holders
from .schedule import due, process_slots
from .schema_tables import OF_NETUID, SUBNET_SWAPS
from .stakes import ROOT
from .subnet_epoch import run_subnet_epoch
from .subnets import decay_burns, global_parameter, netuids, read_schedule, subnet_exists
from .timelocked import reveal_timelocked

if TYPE_CHECKING:
    from ...state.state import State


def start_block(state: State, ctx: BlockContext) -> tuple[list[EpochSummary], list[Event]]:
    """Run the pipeline; gives the epochs it ran and the events of the block's start."""
    height = ctx.height
    _expire_swaps(state, ctx)
    decay_burns(state, height)
    _reset_registrations(state, height)
    events: list[Event] = []
    if ctx.spec.parameters.timelocked_weights_enabled:
        events += reveal_timelocked(state, height, _deferred(state, height))

    economy = read_economy(state, ctx.spec.parameters)
    outcome = run_block(economy, height, Rao(economy.total_issuance))
    write_economy(state, outcome)
    events += [event(EventKind.EpochDeferred, netuid) for netuid in outcome.slots.deferred]
    for netuid, _ in outcome.drained:
        events += change_owner_by_conviction(state, ctx, netuid)

    summaries = []
    for netuid, pending in outcome.drained:
        summary, happened = run_subnet_epoch(state, netuid, pending, height)
        summaries.append(summary)
        events += happened

    for fired in outcome.slots.fired:
        events += apply_pending_children(state, fired, height)
    events += claim_by_itself(state, ctx.parent_hash)
    sweep_root_holders(state)
    return summaries, events


def _expire_swaps(state: State, ctx: BlockContext) -> None:
    """Step 1: records of hotkey swaps that no longer bind, of the subnets whose turn it is."""
    interval = ctx.spec.parameters.hotkey_swap_on_subnet_interval
    table = state.key_table(SUBNET_SWAPS)
    if not len(table) or not interval:
        return
    for netuid in range(ctx.height % interval, state.rows("subnets/exists"), interval):
        for key in table.matching(OF_NETUID, netuid.to_bytes(2, "big")):
            row = table.find(key)
            if row is not None and state.read("subnet_swaps/block", row) + interval < ctx.height:
                table.release(key)


def _reset_registrations(state: State, height: Height) -> None:
    """Step 2, root's counters. The interval's is reset in every block once root is due, and root never runs an epoch,
    so that limit is one per block in effect (DTAO 13.26)."""
    state.write("subnets/root_registrations_block", ROOT, 0)
    if subnet_exists(state, ROOT) and due(read_schedule(state, ROOT), height):
        state.write("subnets/root_registrations_interval", ROOT, 0)


def _deferred(state: State, height: Height) -> tuple[int, ...]:
    """Subnets whose epoch this block will put off: their timelocked weights wait too (DTAO 3.6)."""
    schedules = [read_schedule(state, netuid) for netuid in netuids(state)]
    return process_slots(schedules, height, global_parameter(state, "max_epochs_per_block")).deferred
