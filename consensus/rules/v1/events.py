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
    EventKind.StakeAdded: ("coldkey", "hotkey", "netuid", "amount"),
    EventKind.StakeRemoved: ("coldkey", "hotkey", "netuid", "amount"),
    EventKind.HotkeyAssociated: ("coldkey", "hotkey"),
    EventKind.EpochRun: ("netuid", "emission", "server", "validator", "root", "owner_cut"),
    EventKind.EpochDeferred: ("netuid",),
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
