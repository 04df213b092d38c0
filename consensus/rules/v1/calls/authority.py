"""Family 01: authority keys and heartbeats, signed by the hotkey (CHAIN 1.3, set change)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ....types import AccountId
from ...interface import BlockContext, Event
from ..authorities import check_heartbeat, check_registration, record_heartbeat, register_authority
from ..events import EventKind, event
from ..schema import PEER_ID_BYTES
from .call import Argument, ArgumentKind, Arguments, Call, Signer

if TYPE_CHECKING:
    from ....state.state import State


def _register(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    key, possession = args
    check_registration(state, ctx, signer, key, possession)
    register_authority(state, signer, key, ctx.height)
    return [event(EventKind.AuthorityKeyRegistered, signer, key)]


def _check_heartbeat(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> None:
    check_heartbeat(state, ctx, signer, args[0])


def _heartbeat(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    record_heartbeat(state, signer, args[0], ctx.height)
    return [event(EventKind.Heartbeat, signer, args[0])]


CALLS: Final = (
    Call(
        number=0x0100,
        name="authority.register",
        signer=Signer.HOTKEY,
        arguments=(
            Argument("authority_key", ArgumentKind.HASH, "public key that will sign votes"),
            Argument("possession", ArgumentKind.SIGNATURE, "its signature over this network and this hotkey"),
        ),
        weight=400,  # a second signature to verify, and a look at every registered key
        execute=_register,
        doc="Register an authority key, or replace the present one as soon as the new one is old enough.",
    ),
    Call(
        number=0x0101,
        name="authority.heartbeat",
        signer=Signer.HOTKEY,
        arguments=(Argument("peer_id", ArgumentKind.BYTES, "libp2p peer id, raw", most=PEER_ID_BYTES),),
        weight=200,
        execute=_heartbeat,
        check=_check_heartbeat,
        free=True,
        doc="Say in each era that the authority is there, and under which peer id; else the next set is made without.",
    ),
)
