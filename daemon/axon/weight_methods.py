"""What the control interface tells of weights that this peer looks after itself (AXON R29)."""

from __future__ import annotations

from ...consensus.rules.v1.calls.call import Argument, ArgumentKind
from ...consensus.types import AccountId
from ..registry import Json, Method
from .weight_scheduler import WeightScheduler


def weight_methods(scheduler: WeightScheduler) -> list[Method]:
    """Methods about the validators that `scheduler` looks after."""

    async def one(hotkey: AccountId, netuid: int, mechanism: int | None) -> Json:
        return scheduler.status(hotkey, netuid, mechanism or 0)

    async def every() -> Json:
        return list(scheduler.statuses())

    return [
        Method(
            "weight_scheduler",
            (
                Argument("hotkey", ArgumentKind.ACCOUNT, "the validator's hotkey"),
                Argument("netuid", ArgumentKind.U16, "subnet"),
                Argument("mechanism", ArgumentKind.U8, "mechanism of the subnet; 0 without it"),
            ),
            "What this peer does about a validator's weights, when, and why not now; null when it does nothing.",
            one,
            optional=("mechanism",),
        ),
        Method("weight_schedulers", (), "The same for every validator of this peer.", every),
    ]
