"""The end of a subnet: who has to go, and how its TAO is shared among those who hold its alpha (DTAO 8.6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ...fixed_point import Q96
from ...types import AccountId, Rao
from ..interface import BlockContext, Event
from .balances import can_receive, credit, recycle
from .children import remove_children
from .dtao.safe_float import to_u64
from .dtao.share_pool import SharePool, holding
from .dtao.subnet_market import share_out_pot
from .dtao.units import DYNAMIC
from .events import EventKind, event
from .locks import remove_locks
from .markets import add_total_stake
from .records import RecordTag, delete_record, record_accounts
from .root_stake import forget_root_dividends
from .schema import MAX_MECHANISMS, NEURON_STRIDE, NEURONS, SUBNETS
from .schema_tables import HOTKEY_SUBNETS, OF_NETUID, OWNER_LIMITS, POSITIONS, STAKES, SUBNET_SWAPS
from .stakes import share, share_pool
from .subnets import close_mechanisms, global_parameter, mechanism_index, netuids, parameter
from .timelocked import remove_timelocked
from .weight_commits import remove_commits

if TYPE_CHECKING:
    from ...state.state import State

INHERITED: Final = (
    "recycle_or_burn",
    "owner_cut_enabled",
    "root_claim_threshold",
    "min_non_immune_uids",
    "min_allowed_uids",
    "min_childkey_take",
)
"""Settings that stay for the next subnet of this number (step 6); auto-stake destinations stay too."""

_PUBLISHED: Final = (
    RecordTag.AXON,
    RecordTag.PROMETHEUS,
    RecordTag.CERTIFICATE,
    RecordTag.COMMITMENT,
    RecordTag.SUBNET_IDENTITY,
)


def prune_victim(state: State, height: int) -> int | None:
    """The subnet that makes room for a new one: lowest moving price, then oldest, then lowest number."""
    immunity = global_parameter(state, "network_immunity_period")
    candidates = []
    for netuid in netuids(state):
        registered = int(state.read("subnets/registered_at", netuid))
        if height >= registered + immunity:
            candidates.append((_moving_price(state, netuid), registered, netuid))
    return min(candidates)[2] if candidates else None


def _moving_price(state: State, netuid: int) -> int:
    """Raw I96F32; that of a stable subnet reads as one whatever is stored (DTAO 13.39)."""
    if state.read("subnets/subnet_mechanism", netuid) != DYNAMIC:
        return Q96.one
    return state.read_wide("subnets/moving_price", netuid)


def dissolve_subnet(state: State, ctx: BlockContext, netuid: int) -> list[Event]:
    """Share a subnet's TAO among its stakers, recycle the rest and remove everything of it."""
    forget_root_dividends(state, netuid)
    _pay_stakers(state, ctx, netuid)
    rest = int(state.read("subnets/account", netuid))
    state.write("subnets/account", netuid, 0)
    recycle(state, rest)
    _remove_everything(state, netuid)
    return [event(EventKind.NetworkRemoved, netuid)]


def _pay_stakers(state: State, ctx: BlockContext, netuid: int) -> None:
    """Steps 2 to 4: the reserve by claims in alpha; a share that its owner cannot receive stays in the account."""
    prefix = netuid.to_bytes(2, "big")
    positions = state.key_table(POSITIONS)
    keys = positions.matching(OF_NETUID, prefix)
    claims = _claims(state, netuid, keys)
    pot = Rao(int(state.read("subnets/tao_reserve", netuid)))
    parts = share_out_pot(pot, [*claims, _protocol_claim(state, netuid)])
    paid = 0
    for key, part in zip(keys, parts, strict=False):
        coldkey = AccountId(key[34:])
        if part and can_receive(state, coldkey, part, ctx.spec.existential_deposit):
            credit(state, coldkey, part)
            paid += part
    state.add("subnets/account", netuid, -paid)
    positions.release_all(keys)
    stakes = state.key_table(STAKES)
    stakes.release_all(stakes.matching(OF_NETUID, prefix))
    add_total_stake(state, -pot)


def _claims(state: State, netuid: int, keys: Sequence[bytes]) -> list[int]:
    """Holders' alpha; one whose share is worth nothing counts with the share itself (DTAO 13.14)."""
    claims = []
    hotkey, pool = b"", SharePool()
    for key in keys:
        if key[2:34] != hotkey:  # keys are in order: holders behind one hotkey follow each other
            hotkey = key[2:34]
            pool = share_pool(state, netuid, hotkey)
        held = share(state, netuid, hotkey, key[34:])
        claims.append(holding(pool, held) or to_u64(held))
    return claims


def _protocol_claim(state: State, netuid: int) -> int:
    """Alpha the chain bought; and the pool's, except for subnets of the genesis. Its part is recycled."""
    claim = int(state.read("subnets/protocol_alpha", netuid))
    if int(state.read("subnets/registered_at", netuid)):
        claim += int(state.read("subnets/alpha_reserve", netuid))
    return claim


def _remove_everything(state: State, netuid: int) -> None:
    prefix = netuid.to_bytes(2, "big")
    remove_children(state, netuid)
    remove_locks(state, netuid)
    for name in (HOTKEY_SUBNETS, OWNER_LIMITS, SUBNET_SWAPS):
        table = state.key_table(name)
        table.release_all(table.matching(OF_NETUID, prefix))
    for tag in _PUBLISHED:
        for account in record_accounts(state, tag, netuid):
            delete_record(state, tag, netuid, account)
    remove_commits(state, netuid, 0, MAX_MECHANISMS)
    for mechanism in range(MAX_MECHANISMS):
        remove_timelocked(state, mechanism_index(netuid, mechanism))
    close_mechanisms(state, netuid, 0, parameter(state, netuid, "mechanism_count"))
    rows = slice(netuid * NEURON_STRIDE, (netuid + 1) * NEURON_STRIDE)
    for spec in NEURONS:
        state.write(spec.name, rows, 0)
    for spec in SUBNETS:
        if spec.name.removeprefix("subnets/") not in INHERITED:
            state.write(spec.name, netuid, 0)
    state.write("subnets/reused", netuid, 1)
