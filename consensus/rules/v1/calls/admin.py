"""Family 0F: parameters of the network, ordered by m of n admin keys of the chain spec (DESIGN decision 8).

`admin.execute` carries `[call, args, admin_nonce, valid_until, [[key, signature]…]]`; anyone submits it and pays. The
keys sign the order, not the transaction, so they can be collected offline. An order is good once: the admin nonce
counts.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from .... import cbor
from ....chain_spec_types import MAX_KEYS
from ....domains import Domain, digest
from ....signature import verify
from ....types import U64_MAX, AccountId, Hash32
from ...interface import BlockContext, Event
from ..errors import CallError, ErrorCode
from ..events import EventKind, event
from .call import Argument, ArgumentKind, Arguments, Call, Signer
from .orders import MAX_ARGUMENTS, order_named, order_numbered, run_order

if TYPE_CHECKING:
    from ....state.state import State


def order_digest(
    genesis_hash: Hash32, number: int, arguments: tuple[Any, ...] | list[Any], admin_nonce: int, valid_until: int
) -> Hash32:
    """What an admin key signs. Raises TypeError for arguments that cannot be encoded."""
    return digest(Domain.ADMIN, cbor.encode([genesis_hash, number, list(arguments), admin_nonce, valid_until]))


def _execute(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    number, values, admin_nonce, _, _ = args
    _check_authority(state, ctx, args)
    order = order_numbered(number)
    if order is None:
        raise CallError(ErrorCode.AdminCallUnknown)
    if not order.accepts(values):
        raise CallError(ErrorCode.AdminArgumentsMalformed)
    state.write("chain/admin_nonce", 0, admin_nonce + 1)
    netuid, events = run_order(state, ctx, order, values)
    return [*events, event(EventKind.ParameterSet, netuid, number, values[-1])]


def _check_authority(state: State, ctx: BlockContext, args: Arguments) -> None:
    """An order counts with enough signatures of different admin keys, all of them right, keys ascending."""
    number, values, admin_nonce, valid_until, signatures = args
    if admin_nonce != int(state.read("chain/admin_nonce", 0)) or admin_nonce == U64_MAX:
        raise CallError(ErrorCode.AdminNonceMismatch)
    if valid_until < ctx.height:
        raise CallError(ErrorCode.AdminCallExpired)
    keys = [key for key, _ in signatures]
    known = all(key in ctx.spec.admin_keys for key in keys)
    ascending = all(left < right for left, right in pairwise(keys))
    if not ctx.spec.admin_keys or not known or not ascending or len(keys) < ctx.spec.admin_threshold:
        raise CallError(ErrorCode.BadOrigin)
    message = order_digest(ctx.genesis_hash, number, values, admin_nonce, valid_until)
    if not all(verify(key, message, signature) for key, signature in signatures):
        raise CallError(ErrorCode.BadOrigin)


CALLS: Final = (
    Call(
        number=0x0F00,
        name="admin.execute",
        signer=Signer.ANY,
        arguments=(
            Argument("call", ArgumentKind.U16, "number of an administrative call, sudo_set_…"),
            Argument("args", ArgumentKind.VALUES, "its arguments: [netuid, value…] or [value]", MAX_ARGUMENTS),
            Argument("admin_nonce", ArgumentKind.U64, "the network's next admin nonce"),
            Argument("valid_until", ArgumentKind.U64, "last height at which the order holds"),
            Argument("signatures", ArgumentKind.SIGNATURES, "[key, signature], keys ascending", most=MAX_KEYS),
        ),
        weight=400,
        item_argument=4,
        item_weight=80,  # one signature to verify
        execute=_execute,
        doc="Set a parameter of the network or of one subnet, by order of enough admin keys.",
    ),
)

__all__ = ["CALLS", "order_digest", "order_named"]
