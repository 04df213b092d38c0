"""What an authority may still sign: exclusive votes (CHAIN R8), the floor (R7) and the birth rule (1.3, guard).

Pure decisions over values. The file that remembers own statements and asks these questions before each signature
lives in `storage`; nothing is signed that `refusal` refuses.
"""

from __future__ import annotations

from collections.abc import Sequence

from .statement import Kind, Statement
from .timing import Timing
from .types import Era, Micros, Slot, View


def refusal(existing: Sequence[Statement], floor: tuple[Era, View] | None, statement: Statement) -> str | None:
    """Why `statement` must not be signed, or None when it may be (R8).

    `existing` are the statements this key has signed in the same vote domain (genesis and restart hash); those of
    other views do not matter. `floor` is the (era, view) at or below which nothing new is signed. Signing the very
    same statement again is always allowed: its bytes are identical (R9).
    """
    opposite = {Kind.NULLIFY: Kind.FINALIZE, Kind.FINALIZE: Kind.NULLIFY}.get(statement.kind)
    for earlier in existing:
        if (earlier.era, earlier.view) != (statement.era, statement.view):
            continue
        if earlier == statement:
            return None
        if earlier.kind is statement.kind:
            return (
                f"era {statement.era} view {statement.view}: another {statement.kind.name.lower()} is signed already "
                f"(block {earlier.block_hash.hex()[:16]}, asked for {statement.block_hash.hex()[:16]})"
            )
        if earlier.kind is opposite:
            return (
                f"era {statement.era} view {statement.view}: a {earlier.kind.name.lower()} is signed already, "
                f"it excludes a {statement.kind.name.lower()}"
            )
    if floor is not None and (statement.era, statement.view) <= floor:
        return (
            f"era {statement.era} view {statement.view} is not above the guard's floor, "
            f"era {floor[0]} view {floor[1]}: nothing new is signed there"
        )
    return None


def may_sign(born: Micros | None, opening_slot: Slot, timing: Timing) -> bool:
    """Whether a key whose guard was born at `born` may sign in an era opened by a block of `opening_slot` (birth rule).

    `born` is None for a guard made together with its key: it has never signed and may sign at once, in era 0 too. A
    guard made later stands for a lost one, whose votes are unknown. A vote in an era implies that the era's opening
    block was final, so that block's slot is at most `slot_at(then + drift)`; an opening slot later than
    `slot_at(born + 2*drift)` proves that the lost guard saw nothing of the era. Era 0 is opened by genesis, slot 0, so
    a lost guard abstains through the whole of it. The slot is the chain's, never the time the process first saw it.
    """
    return born is None or opening_slot > timing.slot_at(born + 2 * timing.drift)
