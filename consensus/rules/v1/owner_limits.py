"""What a subnet's owner may set, between which bounds and how often (DTAO 8.5, YUMA section 8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..interface import BlockContext
from .errors import CallError, ErrorCode
from .schedule import freeze_window_closed
from .schema_tables import OWNER_LIMITS
from .subnets import global_parameter, parameter, read_schedule

if TYPE_CHECKING:
    from ...state.state import State

I16_MAX: Final = (1 << 15) - 1

VERSION_KEY_TEMPOS: Final = 5
"""Tempos between two changes of the weights version key."""


@dataclass(frozen=True, slots=True)
class OwnerRight:
    """An administrative call that the owner may give for its own subnet."""

    maximum: int | None = None
    """Highest value for an owner, where it is lower than governance's."""
    minimum: int | None = None
    limited: bool = True
    """Whether it may be given only once in a while."""
    limit: str = ""
    """Parameter of the spec that holds the blocks between two; otherwise it is counted in tempos."""
    tempos: int | None = None
    """Tempos between two; None for the network's number."""


OWNER_RIGHTS: Final[dict[str, OwnerRight]] = {
    **{
        f"sudo_set_{name}": OwnerRight()
        for name in (
            "serving_rate_limit",
            "adjustment_alpha",
            "immunity_period",
            "min_allowed_weights",
            "max_allowed_uids",
            "rho",
            "activity_cutoff",
            "min_burn",
            "max_burn",
            "bonds_penalty",
            "bonds_reset_on",
            "commit_reveal_weights_enabled",
            "reveal_period_epochs",
            "liquid_alpha_on",
            "alpha_values",
            "yuma3_on",
            "transfer_toggle",
            "recycle_or_burn",
            "immune_owner_uids_limit",
            "burn_half_life",
            "burn_increase_mult",
            "min_childkey_take",
        )
    },
    "sudo_set_bonds_moving_average": OwnerRight(maximum=975_000),
    "sudo_set_alpha_sigmoid_steepness": OwnerRight(minimum=0, maximum=I16_MAX),
    "sudo_set_weights_version_key": OwnerRight(tempos=VERSION_KEY_TEMPOS),
    "sudo_set_mechanism_count": OwnerRight(limit="mechanism_rate_limit"),
    "sudo_set_mechanism_emission_split": OwnerRight(limit="mechanism_rate_limit"),
    "sudo_trim_to_max_allowed_uids": OwnerRight(limit="trim_rate_limit"),
    "sudo_set_sn_owner_hotkey": OwnerRight(limit="sn_owner_hotkey_rate_limit"),
    "sudo_set_owner_cut_enabled": OwnerRight(limited=False),
    "sudo_set_owner_cut_auto_lock_enabled": OwnerRight(limited=False),
    "sudo_set_root_claim_threshold": OwnerRight(limited=False),
}
"""By name of the administrative call."""


def check_window(state: State, netuid: int, height: int) -> None:
    """Raise AdminActionProhibitedDuringWeightsWindow just before an epoch."""
    if freeze_window_closed(read_schedule(state, netuid), height, global_parameter(state, "admin_freeze_window")):
        raise CallError(ErrorCode.AdminActionProhibitedDuringWeightsWindow)


def blocks_between(state: State, ctx: BlockContext, netuid: int, right: OwnerRight) -> int:
    """Blocks between two uses of a right."""
    if not right.limited:
        return 0
    if right.limit:
        return int(getattr(ctx.spec.parameters, right.limit))
    tempos = global_parameter(state, "owner_hyperparam_rate_limit") if right.tempos is None else right.tempos
    return tempos * parameter(state, netuid, "tempo")


def use_right(state: State, ctx: BlockContext, netuid: int, number: int, blocks: int) -> None:
    """Count the use of an administrative call by the owner. Raises TxRateLimitExceeded if it is too soon."""
    table, key = state.key_table(OWNER_LIMITS), netuid.to_bytes(2, "big") + number.to_bytes(2, "big")
    row = table.find(key)
    last = 0 if row is None else int(state.read("owner_limits/changed_at", row))
    if last and ctx.height - last < blocks:
        raise CallError(ErrorCode.TxRateLimitExceeded)
    if blocks:
        state.write("owner_limits/changed_at", table.open(key), ctx.height)
