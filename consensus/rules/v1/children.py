"""Child keys: hotkeys that work with a share of another hotkey's stake on a subnet (DTAO 7.1).

An edge has a row of its own, so that a popular child costs nobody more than its own edges. The order of edges never
matters: every product is floored by itself. A set of children waits for a cooldown and takes effect at an epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from ... import cbor
from ...state.key_table import Part
from ...types import U64_MAX, AccountId
from ..interface import BlockContext, Event
from .dtao.distribution import Relation
from .errors import CallError, ErrorCode
from .events import EventKind, event
from .neurons import hotkeys_of
from .records import RecordTag, delete_record, get_record, put_record, record_accounts
from .schema_tables import CHILDKEYS, HOTKEY_SUBNETS, HOTKEYS, OF_CHILD, OF_NETUID, OF_PARENT
from .stake_values import total_stake_value
from .stakes import ROOT, hotkey_owner, position_key, stake_key
from .subnets import global_parameter, netuids, owner_hotkey, parameter, subnet_exists

if TYPE_CHECKING:
    from ...state.state import State

MAX_CHILDREN: Final = 5
"""Of one hotkey on one subnet."""

MAX_PENDING_BYTES: Final = 512
"""Five children take 225 bytes."""

Relations: TypeAlias = "dict[AccountId, list[Relation]]"


# --- reading ----------------------------------------------------------------------------------------------------------


def children_of(state: State, netuid: int, hotkey: bytes) -> list[Relation]:
    """A hotkey's children with the share that each works with, in account order."""
    edges = _edges(state, OF_PARENT, stake_key(netuid, hotkey))
    return [Relation(proportion, child) for _, child, proportion in edges]


def parents_of(state: State, netuid: int, hotkey: bytes) -> list[Relation]:
    """A hotkey's parents with the share of theirs that it works with, in account order."""
    edges = _edges(state, OF_CHILD, stake_key(netuid, hotkey))
    return [Relation(proportion, parent) for parent, _, proportion in edges]


def relations_of_subnet(state: State, netuid: int) -> tuple[Relations, Relations]:
    """(parents by child, children by parent) of a whole subnet, for an epoch."""
    parents: Relations = {}
    children: Relations = {}
    for parent, child, proportion in _edges(state, OF_NETUID, netuid.to_bytes(2, "big")):
        parents.setdefault(child, []).append(Relation(proportion, parent))
        children.setdefault(parent, []).append(Relation(proportion, child))
    return parents, children


def _edges(state: State, part: Part, value: bytes) -> list[tuple[AccountId, AccountId, int]]:
    """(parent, child, proportion) of the edges whose key has `value` in `part`, in key order."""
    table = state.key_table(CHILDKEYS)
    if not len(table):
        return []
    proportions = state.array("childkeys/proportion")
    edges = []
    for key in table.matching(part, value):
        row = table.find(key)
        assert row is not None
        edges.append((AccountId(key[2:34]), AccountId(key[34:]), proportions.item(row)))
    return edges


def childkey_take(state: State, netuid: int, hotkey: bytes) -> int:
    """What a child keeps of its parents' dividends, of 65535: the stored take, not below either minimum."""
    row = state.key_table(HOTKEY_SUBNETS).find(stake_key(netuid, hotkey))
    stored = 0 if row is None else int(state.read("hotkey_subnets/childkey_take", row))
    return max(stored, least_childkey_take(state, netuid))


def least_childkey_take(state: State, netuid: int) -> int:
    """Lowest child-key take on a subnet."""
    return max(global_parameter(state, "min_childkey_take"), parameter(state, netuid, "min_childkey_take"))


def pending_children(state: State, netuid: int, hotkey: bytes) -> tuple[int, list[Relation]] | None:
    """(cooldown height, children) of a set that waits, or None."""
    data = get_record(state, RecordTag.PENDING_CHILDREN, netuid, hotkey)
    if data is None:
        return None
    cooldown, pairs = cbor.decode(data, max_bytes=MAX_PENDING_BYTES)
    return cooldown, [Relation(part, AccountId(child)) for part, child in pairs]


# --- changing ---------------------------------------------------------------------------------------------------------


def check_children(
    state: State, ctx: BlockContext, signer: bytes, hotkey: bytes, netuid: int, children: Sequence[Relation]
) -> None:
    """The checks of `set_children` in their order. Raises CallError."""
    row = state.key_table(HOTKEY_SUBNETS).find(stake_key(netuid, hotkey))
    last = 0 if row is None else int(state.read("hotkey_subnets/children_set_at", row))
    if last and ctx.height - last < ctx.spec.parameters.set_children_rate_limit:
        raise CallError(ErrorCode.TxRateLimitExceeded)
    if netuid == ROOT:
        raise CallError(ErrorCode.RegistrationNotPermittedOnRootSubnet)
    if not subnet_exists(state, netuid):
        raise CallError(ErrorCode.SubnetNotExists)
    if hotkey_owner(state, hotkey) != signer:
        raise CallError(ErrorCode.NonAssociatedColdKey)
    named = [relation.hotkey for relation in children]
    if len(dict.fromkeys(named)) < len(named):
        raise CallError(ErrorCode.DuplicateChild)
    if hotkey in named:
        raise CallError(ErrorCode.InvalidChild)
    if len(children) > MAX_CHILDREN:
        raise CallError(ErrorCode.TooManyChildren)
    if sum(relation.proportion for relation in children) > U64_MAX:
        raise CallError(ErrorCode.ProportionOverflow)
    if not _consistent(state, netuid, hotkey, children):
        raise CallError(ErrorCode.ChildParentInconsistency)
    threshold = global_parameter(state, "stake_threshold") if hotkey != owner_hotkey(state, netuid) else 0
    if children and threshold and total_stake_value(state, hotkey) < threshold:
        raise CallError(ErrorCode.NotEnoughStakeToSetChildkeys)


def set_children(
    state: State, ctx: BlockContext, hotkey: bytes, netuid: int, children: Sequence[Relation]
) -> list[Event]:
    """Schedule a checked set of children, or apply it at once where the subtoken is disabled."""
    row = state.key_table(HOTKEY_SUBNETS).open(stake_key(netuid, hotkey))
    state.write("hotkey_subnets/children_set_at", row, ctx.height)
    if not parameter(state, netuid, "subtoken_enabled"):
        delete_record(state, RecordTag.PENDING_CHILDREN, netuid, hotkey)
        return _apply(state, netuid, hotkey, children)
    cooldown = min(ctx.height + global_parameter(state, "pending_childkey_cooldown"), U64_MAX)
    store_pending_children(state, netuid, hotkey, cooldown, children)
    return [event(EventKind.SetChildrenScheduled, bytes(hotkey), netuid, cooldown, packed_children(children))]


def store_pending_children(
    state: State, netuid: int, hotkey: bytes, cooldown: int, children: Sequence[Relation]
) -> None:
    """Let a set wait until `cooldown`, in place of one that is there."""
    value = cbor.encode([cooldown, [[relation.proportion, relation.hotkey] for relation in children]])
    put_record(state, RecordTag.PENDING_CHILDREN, netuid, hotkey, value)


def packed_children(children: Sequence[Relation]) -> bytes:
    """Children in an event: proportion (u64 little-endian) and hotkey of each."""
    return b"".join(relation.proportion.to_bytes(8, "little") + relation.hotkey for relation in children)


def _consistent(state: State, netuid: int, hotkey: bytes, children: Sequence[Relation]) -> bool:
    """Whether no child is a parent of the hotkey; looked up by edge, since a popular hotkey has many parents."""
    table = state.key_table(CHILDKEYS)
    return all(table.find(position_key(netuid, relation.hotkey, hotkey)) is None for relation in children)


def _apply(state: State, netuid: int, hotkey: bytes, children: Sequence[Relation]) -> list[Event]:
    """Replace a hotkey's edges; a set that has become inconsistent is dropped without a word."""
    if not _consistent(state, netuid, hotkey, children):
        return []
    table = state.key_table(CHILDKEYS)
    for key in table.matching(OF_PARENT, stake_key(netuid, hotkey)):
        table.release(key)
    for relation in children:
        row = table.open(position_key(netuid, hotkey, relation.hotkey))
        state.write("childkeys/proportion", row, relation.proportion)
    return [event(EventKind.SetChildren, bytes(hotkey), netuid, packed_children(children))]


def apply_pending_children(state: State, netuid: int, height: int) -> list[Event]:
    """At a subnet's epoch: the sets whose cooldown is over, all of them where the subtoken is disabled."""
    events: list[Event] = []
    disabled = not parameter(state, netuid, "subtoken_enabled")
    for hotkey in record_accounts(state, RecordTag.PENDING_CHILDREN, netuid):
        waiting = pending_children(state, netuid, hotkey)
        assert waiting is not None
        cooldown, children = waiting
        if disabled or cooldown < height:
            delete_record(state, RecordTag.PENDING_CHILDREN, netuid, hotkey)
            events += _apply(state, netuid, hotkey, children)
    return events


def drop_pending_children(state: State, hotkey: bytes) -> None:
    """Forget every set of a hotkey that waits: its stake fell below the threshold (DTAO 6.4)."""
    for netuid in netuids(state):
        delete_record(state, RecordTag.PENDING_CHILDREN, netuid, hotkey)


def adopt_owner_hotkey(state: State, ctx: BlockContext, netuid: int, hotkey: AccountId) -> list[Event]:
    """Root validators become full parents of a new subnet's owner hotkey, by root uid, where their own checks allow."""
    events: list[Event] = []
    everything = [Relation(U64_MAX, hotkey)]
    for validator in hotkeys_of(state, ROOT):
        row = state.key_table(HOTKEYS).find(validator)
        coldkey = hotkey_owner(state, validator)
        if validator == hotkey or coldkey is None or row is None or state.read("hotkeys/no_auto_parent", row):
            continue
        try:
            check_children(state, ctx, coldkey, validator, netuid, everything)
        except CallError:
            continue
        events += set_children(state, ctx, validator, netuid, everything)
    return events


def remove_children(state: State, netuid: int) -> None:
    """Forget all edges and waiting sets of a subnet."""
    table = state.key_table(CHILDKEYS)
    for key in table.matching(OF_NETUID, netuid.to_bytes(2, "big")):
        table.release(key)
    for hotkey in record_accounts(state, RecordTag.PENDING_CHILDREN, netuid):
        delete_record(state, RecordTag.PENDING_CHILDREN, netuid, hotkey)
