"""Family 07: claiming root dividends (DTAO 4.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ....types import AccountId
from ...interface import BlockContext, Event
from ..errors import CallError, ErrorCode
from ..events import EventKind, event
from ..records import NO_SUBNET, RecordTag, delete_record, put_record
from ..root_stake import ClaimType, claim_root_dividends, note_root_holder
from ..schema_tables import COLDKEYS
from .call import Argument, ArgumentKind, Arguments, Call, Signer, pack_u16

if TYPE_CHECKING:
    from ....state.state import State

MAX_CLAIMED_SUBNETS: Final = 5
MAX_KEPT_SUBNETS: Final = 128


def _claim_root(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    chosen = sorted(dict.fromkeys(args[0]))
    if not 1 <= len(chosen) <= MAX_CLAIMED_SUBNETS:
        raise CallError(ErrorCode.InvalidSubnetNumber)
    note_root_holder(state, signer)  # root stake that arrived by a transfer is not in the list yet (DTAO 13.15)
    return claim_root_dividends(state, signer, chosen)


def _set_root_claim_type(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    number, subnets = args
    kept = sorted(dict.fromkeys(subnets))
    if number > ClaimType.KEEP_SUBNETS or bool(kept) != (number == ClaimType.KEEP_SUBNETS):
        raise CallError(ErrorCode.InvalidSubnetNumber)
    note_root_holder(state, signer)
    state.write("coldkeys/claim_type", state.key_table(COLDKEYS).open(signer), number)
    if kept:
        put_record(state, RecordTag.CLAIM_SUBNETS, NO_SUBNET, signer, pack_u16(kept))
    else:
        delete_record(state, RecordTag.CLAIM_SUBNETS, NO_SUBNET, signer)
    return [event(EventKind.RootClaimTypeSet, signer, number)]


CALLS: Final = (
    Call(
        number=0x0700,
        name="root.claim_root",
        signer=Signer.COLDKEY,
        arguments=(Argument("netuids", ArgumentKind.U16_LIST, "one to five subnets", most=64),),
        weight=3_000,
        execute=_claim_root,
        doc="Claim one's root dividends of some subnets; all of it or nothing.",
    ),
    Call(
        number=0x0701,
        name="root.set_root_claim_type",
        signer=Signer.COLDKEY,
        arguments=(
            Argument("claim_type", ArgumentKind.U8, "0 swap for TAO, 1 keep, 2 keep those of the named subnets"),
            Argument("netuids", ArgumentKind.U16_LIST, "subnets for type 2", most=MAX_KEPT_SUBNETS),
        ),
        weight=400,
        execute=_set_root_claim_type,
        doc="Choose what becomes of one's root dividends.",
    ),
)
