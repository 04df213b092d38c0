"""Whether a policy lets a caller in, and what it is told if not (AXON R21, R23, complaint C9). Pure.

Needs no cryptography, so it runs before the signature is verified (R6); what it tells is public on the chain.
"""

from __future__ import annotations

from typing import Final

from ...consensus.types import AccountId
from .interfaces import Freshness, Standing
from .policy import Policy
from .status import Status

RAO: Final = 1_000_000_000
"""Rao in one TAO, and in one alpha."""


def admits_by_stake_alone(policy: Policy) -> bool:
    """Whether a holder without a uid may call: then the view must know such holders."""
    return not policy.require_permit and policy.min_stake > 0


def judge(
    policy: Policy,
    caller: AccountId,
    standing: Standing,
    freshness: Freshness,
    known: bool,
    netuid: int | None = None,
) -> tuple[Status, str] | None:
    """None when the caller may call, else the status and a text for a person. `known`: it was served before.

    Lists come first, then the age of the own chain state, then what the chain says of the caller. BUSY for a state that
    is too old: the caller has done nothing wrong, and another peer may know better.
    """
    if caller in policy.deny:
        return Status.DENIED, "this hotkey is on the method's deny list"
    if policy.allow and caller not in policy.allow:
        return Status.DENIED, "only hotkeys on the method's allow list may call it"
    if freshness is Freshness.KNOWN_ONLY and not known:
        return Status.BUSY, "this peer is far behind the chain and serves only callers it has served before"
    where = "this subnet" if netuid is None else f"subnet {netuid}"
    if standing.uid is None and not admits_by_stake_alone(policy):
        return Status.NOT_REGISTERED, f"register this hotkey on {where} first"
    if policy.require_permit and not standing.permit:
        return (
            Status.NO_PERMIT,
            f"uid {standing.uid} has no validator permit on {where} in this epoch; permits go to the largest stakes",
        )
    missing = policy.min_stake - standing.stake
    if missing > 0:
        return (
            Status.LOW_STAKE,
            f"{missing} rao of stake weight are missing: stake {in_units(missing)} more on {where} (alpha counts in "
            f"full, TAO on root by the chain's root weight; needed {in_units(policy.min_stake)}, "
            f"found {in_units(standing.stake)})",
        )
    return None


def in_units(rao: int) -> str:
    """Rao in TAO or alpha, exact, without needless zeros."""
    whole, rest = divmod(rao, RAO)
    return f"{whole}.{rest:09d}".rstrip("0").rstrip(".")
