"""Family 09: serving, identities and commitments (DTAO 9). Serving and commitments are free, so their pre-check is
all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ....types import AccountId
from ...interface import BlockContext, Event
from ..commitments import MAX_FIELDS, check_commitment, publish, timelock_round
from ..errors import CallError, ErrorCode
from ..events import EventKind, event
from ..identities import CHAIN_FIELDS, SUBNET_FIELDS, check_identity, set_identity, set_subnet_identity
from ..neurons import has_neuron
from ..records import RecordTag
from ..serving import MAX_CERTIFICATE, MAX_PEER_ID, MAX_PROTOCOLS, check_serve, serve, store_certificate
from ..stakes import ROOT
from ..subnets import owner, subnet_exists
from ..weight_commits import current_epoch
from .call import Argument, ArgumentKind, Arguments, Call, Signer

if TYPE_CHECKING:
    from ....state.state import State

SERVE_WEIGHT: Final = 300
IDENTITY_BYTES: Final = 8192
COMMITMENT_BYTES: Final = 4096


# --- serving ----------------------------------------------------------------------------------------------------------


def _check_axon(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> None:
    check_serve(state, RecordTag.AXON, args[0], signer, args[2], ctx.height)


def _serve_axon(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    netuid, version, peer_id, protocols = args[:4]
    _check_axon(state, ctx, signer, args)
    serve(
        state,
        RecordTag.AXON,
        netuid,
        signer,
        height=ctx.height,
        version=version,
        peer_id=peer_id,
        protocols=protocols,
    )
    return [event(EventKind.AxonServed, netuid, signer)]


def _serve_axon_tls(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    events = _serve_axon(state, ctx, signer, args)
    store_certificate(state, args[0], signer, args[4])
    return events


def _check_prometheus(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> None:
    check_serve(state, RecordTag.PROMETHEUS, args[0], signer, args[2], ctx.height)


def _serve_prometheus(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    netuid, version, peer_id = args
    _check_prometheus(state, ctx, signer, args)
    serve(state, RecordTag.PROMETHEUS, netuid, signer, height=ctx.height, version=version, peer_id=peer_id)
    return [event(EventKind.PrometheusServed, netuid, signer)]


# --- identities -------------------------------------------------------------------------------------------------------


def _set_identity(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    if not has_neuron(state, signer):
        raise CallError(ErrorCode.HotKeyNotRegisteredInNetwork)
    check_identity(args[0], CHAIN_FIELDS)
    set_identity(state, signer, args[0])
    return [event(EventKind.ChainIdentitySet, signer)]


def _set_subnet_identity(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    netuid, texts = args
    if netuid == ROOT or not subnet_exists(state, netuid):
        raise CallError(ErrorCode.SubnetNotExists)
    if owner(state, netuid) != signer:
        raise CallError(ErrorCode.NotSubnetOwner)
    check_identity(texts, SUBNET_FIELDS)
    set_subnet_identity(state, netuid, texts)
    return [event(EventKind.SubnetIdentitySet, netuid)]


# --- commitments ------------------------------------------------------------------------------------------------------


def _epoch(state: State, ctx: BlockContext, netuid: int) -> int:
    return current_epoch(state, netuid, ctx.height) if subnet_exists(state, netuid) else 0


def _check_commitment(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> None:
    netuid, fields = args
    check_commitment(state, netuid, signer, fields, _epoch(state, ctx, netuid))


def _set_commitment(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    netuid, fields = args
    _check_commitment(state, ctx, signer, args)
    publish(state, netuid, signer, fields, _epoch(state, ctx, netuid), ctx.height)
    beacon_round = timelock_round(fields)
    if beacon_round is None:
        return [event(EventKind.Commitment, netuid, signer)]
    return [event(EventKind.TimelockCommitment, netuid, signer, beacon_round)]


_NETUID: Final = Argument("netuid", ArgumentKind.U16, "subnet")
_VERSION: Final = Argument("version", ArgumentKind.U64, "version of the served program")
_PEER: Final = Argument("peer_id", ArgumentKind.BYTES, "libp2p peer id", most=MAX_PEER_ID)
_PROTOCOLS: Final = Argument("protocols", ArgumentKind.U16_LIST, "protocol versions it speaks", most=MAX_PROTOCOLS)

CALLS: Final = (
    Call(
        number=0x0900,
        name="serving.serve_axon",
        signer=Signer.HOTKEY,
        arguments=(_NETUID, _VERSION, _PEER, _PROTOCOLS),
        weight=SERVE_WEIGHT,
        execute=_serve_axon,
        check=_check_axon,
        free=True,
        doc="Say which peer serves the hotkey's axon.",
    ),
    Call(
        number=0x0901,
        name="serving.serve_axon_tls",
        signer=Signer.HOTKEY,
        arguments=(
            _NETUID,
            _VERSION,
            _PEER,
            _PROTOCOLS,
            Argument("certificate", ArgumentKind.BYTES, "one algorithm byte and the key", most=MAX_CERTIFICATE),
        ),
        weight=SERVE_WEIGHT,
        execute=_serve_axon_tls,
        check=_check_axon,
        free=True,
        doc="As serve_axon, with a certificate.",
    ),
    Call(
        number=0x0902,
        name="serving.serve_prometheus",
        signer=Signer.HOTKEY,
        arguments=(_NETUID, _VERSION, _PEER),
        weight=SERVE_WEIGHT,
        execute=_serve_prometheus,
        check=_check_prometheus,
        free=True,
        doc="Say which peer serves the hotkey's metrics.",
    ),
    Call(
        number=0x0910,
        name="identity.set_identity",
        signer=Signer.COLDKEY,
        arguments=(Argument("identity", ArgumentKind.TEXTS, f"texts: {', '.join(CHAIN_FIELDS)}", most=IDENTITY_BYTES),),
        weight=2_000,  # every neuron of the network is looked at
        execute=_set_identity,
        most_bytes=IDENTITY_BYTES,
        doc="Say who one is; for owners of a registered hotkey.",
    ),
    Call(
        number=0x0911,
        name="identity.set_subnet_identity",
        signer=Signer.COLDKEY,
        arguments=(
            _NETUID,
            Argument("identity", ArgumentKind.TEXTS, f"texts: {', '.join(SUBNET_FIELDS)}", most=IDENTITY_BYTES),
        ),
        weight=1_500,
        execute=_set_subnet_identity,
        most_bytes=IDENTITY_BYTES,
        doc="Say what one's subnet is.",
    ),
    Call(
        number=0x0912,
        name="identity.set_commitment",
        signer=Signer.HOTKEY,
        arguments=(
            _NETUID,
            Argument("fields", ArgumentKind.FIELDS, f"up to {MAX_FIELDS} fields, [kind, bytes]", most=2 * MAX_FIELDS),
        ),
        weight=1_200,  # a reset of the bonds of a full subnet
        execute=_set_commitment,
        check=_check_commitment,
        free=True,
        most_bytes=COMMITMENT_BYTES,
        doc="Publish metadata of a neuron, in place of what it published before.",
    ),
)
