"""Events: what blocks and calls did, as an append-only numbered table with named arguments (DESIGN section 7).

An event is committed in `results_root` as `[number, arguments]`. Arguments are integers and byte strings; their names
are for people and programs that read the chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from ... import cbor
from ..interface import Event, EventArgument


class EventKind(IntEnum):
    """Number of each event."""

    # Balances
    Transfer = 1
    AccountReaped = 2
    Endowed = 3
    # Authorities
    AuthorityKeyRegistered = 16
    Heartbeat = 17
    EvidenceAccepted = 18
    AuthorityJailed = 19
    AuthoritySlashed = 20
    NewAuthoritySet = 21
    # Neurons and weights
    NeuronRegistered = 32
    NeuronReplaced = 33
    WeightsSet = 48
    BatchWeightsCompleted = 49
    BatchWeightItemFailed = 50
    # Stake and keys
    StakeAdded = 64
    StakeRemoved = 65
    HotkeyAssociated = 66
    # Epochs
    EpochRun = 80
    EpochDeferred = 81
    # Staking
    StakeMoved = 128
    StakeTransferred = 129
    StakeSwapped = 130
    AlphaBurned = 131
    AlphaRecycled = 132
    AddStakeBurn = 133
    AutoStakeDestinationSet = 134
    RootClaimTypeSet = 135
    # Child keys, takes and locks
    SetChildrenScheduled = 160
    SetChildren = 161
    ChildKeyTakeSet = 162
    AutoParentDelegationEnabledSet = 163
    TakeIncreased = 164
    TakeDecreased = 165
    StakeLocked = 166
    LockMoved = 167
    PerpetualLockUpdated = 168
    RejectLockedAlphaUpdated = 169
    SubnetOwnerChanged = 170
    # Subnets
    NetworkAdded = 176
    NetworkRemoved = 177
    SubnetOwnerHotkeySet = 178
    FirstEmissionBlockNumberSet = 179
    TempoSet = 180
    EpochTriggered = 181
    SymbolUpdated = 182
    SubnetTrimmed = 183
    # Commit and reveal
    WeightsCommitted = 208
    WeightsRevealed = 209
    WeightsBatchRevealed = 210
    TimelockedWeightsCommitted = 211
    TimelockedWeightsRevealed = 212
    # Keys, serving and identity
    AxonServed = 224
    PrometheusServed = 225
    ChainIdentitySet = 226
    SubnetIdentitySet = 227
    Commitment = 228
    TimelockCommitment = 229
    HotkeySwapped = 230
    HotkeySwappedOnSubnet = 231
    ColdkeySwapAnnounced = 232
    ColdkeySwapped = 233
    ColdkeySwapCleared = 234
    ColdkeySwapDisputed = 235
    ColdkeySwapReset = 236
    # Pipeline
    AutoStakeAdded = 256
    RootClaimed = 257
    # Administration
    ParameterSet = 96
    FaucetUsed = 97


ARGUMENTS: Final[dict[EventKind, tuple[str, ...]]] = {
    EventKind.Transfer: ("from", "to", "amount"),
    EventKind.AccountReaped: ("account", "dust"),
    EventKind.Endowed: ("account", "amount"),
    EventKind.AuthorityKeyRegistered: ("hotkey", "authority_key"),
    EventKind.Heartbeat: ("hotkey", "peer_id"),
    EventKind.EvidenceAccepted: ("hotkey", "authority_key", "era"),
    EventKind.AuthorityJailed: ("hotkey", "until_era"),
    EventKind.AuthoritySlashed: ("hotkey", "amount"),
    EventKind.NewAuthoritySet: ("era", "members", "weight"),
    EventKind.NeuronRegistered: ("netuid", "uid", "hotkey"),
    EventKind.NeuronReplaced: ("netuid", "uid", "hotkey"),
    EventKind.WeightsSet: ("netuid", "mechanism", "uid"),
    EventKind.BatchWeightsCompleted: ("items", "hotkey"),
    EventKind.BatchWeightItemFailed: ("netuid", "code"),
    EventKind.StakeAdded: ("coldkey", "hotkey", "tao", "alpha", "netuid", "fee"),
    EventKind.StakeRemoved: ("coldkey", "hotkey", "tao", "alpha", "netuid", "fee"),
    EventKind.HotkeyAssociated: ("coldkey", "hotkey"),
    EventKind.EpochRun: ("netuid", "emission", "server", "validator", "root", "owner_cut"),
    EventKind.EpochDeferred: ("netuid",),
    EventKind.StakeMoved: (
        "coldkey",
        "origin_hotkey",
        "origin_netuid",
        "destination_hotkey",
        "destination_netuid",
        "tao",
    ),
    EventKind.StakeTransferred: (
        "origin_coldkey",
        "destination_coldkey",
        "hotkey",
        "origin_netuid",
        "destination_netuid",
        "tao",
    ),
    EventKind.StakeSwapped: ("coldkey", "hotkey", "origin_netuid", "destination_netuid", "tao"),
    EventKind.AlphaBurned: ("coldkey", "hotkey", "alpha", "netuid"),
    EventKind.AlphaRecycled: ("coldkey", "hotkey", "alpha", "netuid"),
    EventKind.AddStakeBurn: ("netuid", "hotkey", "amount", "alpha"),
    EventKind.AutoStakeDestinationSet: ("coldkey", "netuid", "hotkey"),
    EventKind.RootClaimTypeSet: ("coldkey", "claim_type"),
    EventKind.SetChildrenScheduled: ("hotkey", "netuid", "cooldown", "children"),
    EventKind.SetChildren: ("hotkey", "netuid", "children"),
    EventKind.ChildKeyTakeSet: ("hotkey", "netuid", "take"),
    EventKind.AutoParentDelegationEnabledSet: ("hotkey", "enabled"),
    EventKind.TakeIncreased: ("coldkey", "hotkey", "take"),
    EventKind.TakeDecreased: ("coldkey", "hotkey", "take"),
    EventKind.StakeLocked: ("coldkey", "hotkey", "netuid", "amount"),
    EventKind.LockMoved: ("coldkey", "origin_hotkey", "destination_hotkey", "netuid"),
    EventKind.PerpetualLockUpdated: ("coldkey", "netuid", "enabled"),
    EventKind.RejectLockedAlphaUpdated: ("coldkey", "rejects"),
    EventKind.SubnetOwnerChanged: ("netuid", "old_coldkey", "new_coldkey", "new_hotkey"),
    EventKind.NetworkAdded: ("netuid", "mechanism"),
    EventKind.NetworkRemoved: ("netuid",),
    EventKind.SubnetOwnerHotkeySet: ("netuid", "hotkey"),
    EventKind.FirstEmissionBlockNumberSet: ("netuid", "block"),
    EventKind.TempoSet: ("netuid", "tempo"),
    EventKind.EpochTriggered: ("netuid", "block"),
    EventKind.SymbolUpdated: ("netuid", "symbol"),
    EventKind.SubnetTrimmed: ("netuid", "neurons"),
    EventKind.WeightsCommitted: ("netuid", "mechanism", "hotkey", "hash"),
    EventKind.WeightsRevealed: ("netuid", "mechanism", "hotkey", "hash"),
    EventKind.WeightsBatchRevealed: ("netuid", "hotkey", "reveals"),
    EventKind.TimelockedWeightsCommitted: ("netuid", "mechanism", "hotkey", "hash", "round"),
    EventKind.TimelockedWeightsRevealed: ("netuid", "mechanism", "hotkey"),
    EventKind.AxonServed: ("netuid", "hotkey"),
    EventKind.PrometheusServed: ("netuid", "hotkey"),
    EventKind.ChainIdentitySet: ("coldkey",),
    EventKind.SubnetIdentitySet: ("netuid",),
    EventKind.Commitment: ("netuid", "account"),
    EventKind.TimelockCommitment: ("netuid", "account", "round"),
    EventKind.HotkeySwapped: ("coldkey", "old_hotkey", "new_hotkey"),
    EventKind.HotkeySwappedOnSubnet: ("coldkey", "old_hotkey", "new_hotkey", "netuid"),
    EventKind.ColdkeySwapAnnounced: ("coldkey", "hash"),
    EventKind.ColdkeySwapped: ("old_coldkey", "new_coldkey"),
    EventKind.ColdkeySwapCleared: ("coldkey",),
    EventKind.ColdkeySwapDisputed: ("coldkey",),
    EventKind.ColdkeySwapReset: ("coldkey",),
    EventKind.AutoStakeAdded: ("netuid", "hotkey", "destination", "coldkey", "alpha"),
    EventKind.RootClaimed: ("coldkey", "hotkey", "netuid", "alpha", "tao"),
    EventKind.ParameterSet: ("netuid", "parameter", "value"),
    EventKind.FaucetUsed: ("account", "amount"),
}
"""Names of each event's arguments, in order."""


def event(kind: EventKind, *arguments: EventArgument) -> Event:
    """An event of the table. A wrong number of arguments is a programming error."""
    if len(arguments) != len(ARGUMENTS[kind]):
        raise TypeError(f"{kind.name} has {len(ARGUMENTS[kind])} arguments, {len(arguments)} given")
    return Event(int(kind), arguments)


def event_name(number: int) -> str:
    """Name of an event, `Event<n>` for one this version does not know."""
    try:
        return EventKind(number).name
    except ValueError:
        return f"Event{number}"


def describe_event(happened: Event) -> dict[str, EventArgument | str]:
    """The event as `{"event": name, argument: value…}` for people and programs."""
    try:
        names = ARGUMENTS[EventKind(happened.number)]
    except ValueError:
        names = tuple(str(position) for position in range(len(happened.arguments)))
    return {"event": event_name(happened.number), **dict(zip(names, happened.arguments, strict=False))}


@dataclass(frozen=True, slots=True)
class Result:
    """One decoded leaf of `results_root` beside leaf 0."""

    code: int
    fee: int
    events: tuple[Event, ...]


_MAX_RESULT_BYTES: Final = 1 << 20
"""A block of 512 KiB cannot cause more events than this in one transaction."""


def encode_events(events: Sequence[Event]) -> bytes:
    """Leaf 0: canonical `[[event, [argument…]]…]`."""
    return cbor.encode(_events_value(events))


def encode_result(code: int, fee: int, events: Sequence[Event]) -> bytes:
    """Leaf of one transaction: canonical `[code, fee, [[event, [argument…]]…]]`."""
    return cbor.encode([code, fee, _events_value(events)])


def decode_events(data: bytes) -> tuple[Event, ...]:
    """Inverse of `encode_events`. Raises MalformedError."""
    return _events_from_value(cbor.decode(data, max_bytes=_MAX_RESULT_BYTES))


def decode_result(data: bytes) -> Result:
    """Inverse of `encode_result`. Raises MalformedError."""
    code, fee, events = cbor.as_array(cbor.decode(data, max_bytes=_MAX_RESULT_BYTES), 3, what="result")
    return Result(cbor.as_uint(code, 16, what="code"), cbor.as_uint(fee, 64, what="fee"), _events_from_value(events))


def _events_value(events: Sequence[Event]) -> list[list[int | list[EventArgument]]]:
    return [[happened.number, list(happened.arguments)] for happened in events]


def _events_from_value(value: object) -> tuple[Event, ...]:
    decoded = []
    for item in cbor.as_array(value, what="events"):
        number, arguments = cbor.as_array(item, 2, what="event")
        values = tuple(cbor.as_array(arguments, what="event arguments"))
        decoded.append(Event(cbor.as_uint(number, 16, what="event number"), values))
    return tuple(decoded)
