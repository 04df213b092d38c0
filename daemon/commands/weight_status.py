"""What `yumad weights status` tells of the peer's own scheduler (AXON R29, complaint C13)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .output import CommandError

if TYPE_CHECKING:
    from ...storage.sealed_weights import CommitTarget
    from ..control_client import ControlClient


def scheduler_of(client: ControlClient, target: CommitTarget) -> dict[str, Any] | None:
    """What the peer does about the validator's weights by itself; None when it does nothing."""
    from ...consensus.ss58 import encode_address

    try:
        document: dict[str, Any] | None = client.call(
            "weight_scheduler", hotkey=encode_address(target.hotkey), netuid=target.netuid, mechanism=target.mechanism
        )
    except CommandError as error:
        if error.code != "unknown_method":
            raise
        return None
    return document


def print_scheduler(document: dict[str, Any] | None) -> None:
    """In words, one line each."""
    if document is None:
        print("no plugin of this peer validates with this hotkey: its weights are set by hand")
        return
    following = f"; next look at block {document['next_block']}" if document["next_block"] else ""
    print(f"now:          {document['text']} ({document['state']}){following}")
    print(f"next allowed: block {document['next_allowed'] or document['height'] + 1}")
    sent = document["last_sent"]
    print(f"last sent:    {sent['call']} at block {sent['height']}" if sent else "last sent:    nothing")
    for entry in document["reveals"]:
        why = f": not revealed, {entry['held_back']}" if entry["held_back"] else ""
        print(f"reveal due:   commit of block {entry['block']}, blocks {entry['opens']} to {entry['closes'] - 1}{why}")
    error = document["last_error"]
    if error:
        print(f"last refusal: {error['text']} (block {error['height']})")
