"""Commits made by hand mean hotkeys too, as those of the peer's scheduler do (AXON R29, complaint C12)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .output import CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...consensus.types import AccountId
    from ...storage.sealed_weights import CommittedWeights
    from ..control_client import ControlClient


def hotkeys_behind(client: ControlClient, netuid: int) -> list[AccountId]:
    """The hotkeys of a subnet by uid."""
    from ...consensus.ss58 import decode_address

    members = client.call("metagraph", netuid=netuid)["answer"]["members"]
    return [decode_address(member["hotkey"]) for member in members]


def bound_to(uids: Sequence[int], hotkeys: Sequence[AccountId]) -> tuple[bytes, ...]:
    """What is sealed beside the uids; nobody for one that is not occupied, which no reveal can name."""
    from ...storage.sealed_weights import BOUND_BYTES

    return tuple(bytes(hotkeys[uid][:BOUND_BYTES]) if uid < len(hotkeys) else bytes(BOUND_BYTES) for uid in uids)


def check_owners(client: ControlClient, netuid: int, weights: CommittedWeights) -> None:
    """Raise CommandError when a reveal would give weight to a hotkey that was not meant."""
    from ..axon.weight_vector import strangers

    changed = strangers(weights, hotkeys_behind(client, netuid))
    if changed:
        raise CommandError(
            "uid_changed_owner",
            f"uid {', '.join(map(str, changed))} changed owner since the commit: the new one would inherit the weight",
            remedy="commit again; the weights that are stored stay until that is revealed",
        )
