"""One transaction in a block: everything that must hold for it to be there, then its call (CHAIN 3, DESIGN 7).

Two kinds of failure. A transaction that may not be in the block at all (bad form, nonce, signature, cannot pay, a free
call's pre-check) raises InvalidError before anything is written: a block with it is invalid, a builder skips it. A call
that fails is in the block: its effects are undone, its fee and nonce stay, and its code is recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ...state.column import StateOverflowError
from ...transaction import (
    MORTALITY,
    Transaction,
    decode_transaction,
    transaction_bytes_hash,
    verify_transaction,
)
from ...types import AccountId, Hash32, InvalidError, MalformedError, Rao
from ..interface import BlockContext, Event, TransactionOutcome, Verified
from .balances import debit, free_balance
from .budgets import Budget, transaction_weight
from .calls.call import Arguments, Call, decode_arguments
from .calls.table import call_numbered
from .coldkey_swap import check_freeze
from .errors import CallError, ErrorCode

if TYPE_CHECKING:
    from ...state.state import State

ADMISSION_CODES: Final = (
    "malformed",
    "unknown_call",
    "too_large",
    "expired",
    "too_far",
    "bad_nonce",
    "cannot_pay",
    "precheck",
    "bad_signature",
    "no_room",
)
"""`code` of the InvalidError that keeps a transaction out, in the order of the checks (no_room comes after
too_large)."""


def refuse(code: str, message: str, remedy: str = "") -> InvalidError:
    """The error for a transaction that may not be included; `code` is one of ADMISSION_CODES."""
    error = InvalidError(message, remedy=remedy)
    error.code = code
    return error


class Prepared:
    """A decoded transaction with its call and arguments."""

    __slots__ = ("args", "call", "data", "transaction", "weight")

    def __init__(self, data: bytes, transaction: Transaction, call: Call, args: Arguments) -> None:
        self.data = data
        self.transaction = transaction
        self.call = call
        self.args = args
        self.weight = transaction_weight(call.weigh(args), len(data))

    @property
    def hash(self) -> Hash32:
        """Hash of the whole bytes."""
        return transaction_bytes_hash(self.data)


def prepare(data: bytes) -> Prepared:
    """Strict decode with the call's own schema and size limit; no state needed. Raises InvalidError."""
    try:
        transaction = decode_transaction(data)
    except MalformedError as error:
        raise refuse("malformed", f"transaction: {error.message}") from error
    call = call_numbered(transaction.call)
    if call is None:
        raise refuse("unknown_call", f"call {transaction.call:#06x} is unknown to these rules")
    if len(data) > call.most_bytes:
        raise refuse("too_large", f"{call.name} in {len(data)} bytes, at most {call.most_bytes} allowed")
    try:
        args = decode_arguments(call, transaction.args)
    except MalformedError as error:
        raise refuse("malformed", error.message) from error
    return Prepared(data, transaction, call, args)


def fee_of(ctx: BlockContext, prepared: Prepared) -> int:
    """Flat fee and tip in rao (DESIGN section 7, economy)."""
    fee = 0 if prepared.call.free else ctx.spec.fees.of(prepared.call.number, len(prepared.data))
    return int(fee) + prepared.transaction.tip


def check_admission(state: State, ctx: BlockContext, prepared: Prepared) -> int:
    """All but the signature, against the state as it is; gives the fee.

    Raises InvalidError with a code of ADMISSION_CODES. Used for every transaction of a block, and by the pool.
    """
    transaction, call = prepared.transaction, prepared.call
    if transaction.valid_until < ctx.height:
        raise refuse("expired", f"valid until height {transaction.valid_until}, this is {ctx.height}")
    if transaction.valid_until > ctx.height + MORTALITY:
        raise refuse("too_far", f"valid until height {transaction.valid_until}, at most {ctx.height + MORTALITY}")
    nonce = state.accounts().nonce(transaction.signer, ctx.height)
    if transaction.nonce != nonce:
        raise refuse("bad_nonce", f"nonce {transaction.nonce}, the signer's next one is {nonce}")
    fee = fee_of(ctx, prepared)
    if fee and free_balance(state, transaction.signer) < fee + ctx.spec.existential_deposit:
        raise refuse(
            "cannot_pay",
            f"the signer cannot pay {fee} rao and keep the existential deposit of {ctx.spec.existential_deposit}",
        )
    if call.free:
        try:
            check_freeze(state, transaction.signer, call)
            call.check(state, ctx, transaction.signer, prepared.args)
        except CallError as error:
            raise refuse("precheck", error.message) from error
    return fee


def execute(
    state: State,
    ctx: BlockContext,
    prepared: Prepared,
    budget: Budget,
    *,
    skip_signatures: bool,
    verified: Verified,
) -> TransactionOutcome:
    """Include one transaction. Raises InvalidError, with the state untouched, if it may not be included."""
    call, transaction = prepared.call, prepared.transaction
    size = len(prepared.data)
    if not budget.fits(prepared.weight, size, operational=call.free):
        raise refuse("no_room", f"{call.name} of {prepared.weight} us and {size} bytes exceeds the block's budget")
    fee = check_admission(state, ctx, prepared)
    if not skip_signatures and not verified(prepared.hash):
        verify_transaction(ctx.domain, transaction)
    budget.spend(prepared.weight, size, operational=call.free)
    signer = transaction.signer
    row = state.accounts().open(signer, ctx.height)
    state.write("accounts/nonce", row, transaction.nonce + 1)
    if fee:
        debit(state, signer, fee)
    code, events = _run(state, ctx, call, signer, prepared.args)
    _forget_if_empty(state, signer, ctx.height)
    return TransactionOutcome(code, Rao(fee), events)


def _run(
    state: State, ctx: BlockContext, call: Call, signer: AccountId, args: Arguments
) -> tuple[int, tuple[Event, ...]]:
    mark = state.begin()
    try:
        check_freeze(state, signer, call)
        events = call.execute(state, ctx, signer, args)
    except CallError as error:
        state.rollback(mark)
        return int(error.number), ()
    except StateOverflowError:  # an amount at the end of 64 bits: the column refuses it, and so the call fails
        state.rollback(mark)
        return int(ErrorCode.Overflow), ()
    state.commit(mark)
    return 0, tuple(events)


def _forget_if_empty(state: State, signer: AccountId, height: int) -> None:
    """An account that only ever signs free calls holds nothing: its row stays just long enough to guard its nonce."""
    accounts = state.accounts()
    row = accounts.find(signer, height)
    if row is not None and not accounts.is_reaped(row) and not state.read("accounts/free", row):
        accounts.reap(row, height)
