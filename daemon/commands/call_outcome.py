"""A call that did not end well, as an error of a command: the status of the table, its text, and what to do."""

from __future__ import annotations

from typing import Any, Final

from .body_values import printable
from .output import CommandError, Exit

NOT_AUTHORISED: Final = (24, 25, 26)
"""NOT_REGISTERED, NO_PERMIT, LOW_STAKE: exit code 3."""

_REMEDIES: Final = {
    10: "compare --data with the method's request",
    11: "see what is offered with `yumad axon list --netuid {netuid}`",
    12: "send less, or ask the miner's author for a larger max_body",
    13: "compare --data with the fields of the method's request",
    14: "name another --version; `yumad axon list --netuid {netuid}` shows those that are offered",
    20: "sign for this network: is --home the peer of the right chain?",
    21: "compare the clocks of both machines (`yumad doctor`), or give it longer with --timeout",
    23: "the record may be old; try again in a minute",
    24: "sign with a registered hotkey, or register this one: `yumad subnet register --netuid {netuid}`",
    25: "the method is for holders of a validator permit: add stake and wait for the next epoch",
    26: "add it with `yumad stake add --netuid {netuid}`; it counts from the next final block",
    27: "ask the miner's author; this hotkey is denied",
    30: "the miner's code failed; its own log says why",
    31: "give it longer with --timeout",
    40: "see `yumad axon list --netuid {netuid}`; records live for 45 minutes after the miner stops",
    41: "see `yumad axon ping --netuid {netuid}`: the miner's peer cannot be reached from here",
    44: "give it longer with --timeout, or see `yumad axon ping --netuid {netuid}`",
    45: "the peer that answered does not have the hotkey's key; call again later, or another miner",
}


def failure_of(done: dict[str, Any], netuid: int, method: str) -> CommandError:
    """The error for a result of `axon.forward` whose status is not OK."""
    status = done["status"]
    text = printable(done["text"]) or done["name"].lower().replace("_", " ")
    remedy = _REMEDIES.get(status, "").format(netuid=netuid)
    if done["retry_after_ms"]:
        remedy = f"try again in {done['retry_after_ms'] / 1000:.1f} s"
    elif done["retryable"]:
        remedy = f"try again; {remedy}" if remedy else "try again"
    exit_code = Exit.NOT_REGISTERED if status in NOT_AUTHORISED else Exit.REFUSED
    return CommandError(
        done["name"].lower(), f"{method}: status {status} {done['name']}: {text}", remedy=remedy, exit_code=exit_code
    )
