"""The live table of a swarm: one row a peer, and the newest epoch results under it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from ..consensus.types import YumadError

if TYPE_CHECKING:
    from .swarm import Swarm

_MOST_NEURONS: Final = 12
_SHOWN: Final = ("permit", "active", "consensus", "incentive", "dividends", "validator_trust", "emission")


def swarm_table(swarm: Swarm) -> Group:
    """What the swarm looks like now."""
    table = Table(title=f"yumad swarm  {swarm.spec.spec.name}  genesis {swarm.spec.genesis_hash.hex()[:16]}")
    for name in ("peer", "height", "finalised", "era", "view", "peers", "state root", "final p50", "epochs"):
        table.add_column(name, justify="left" if name in ("peer", "state root") else "right")
    for peer in swarm.peers:
        s = peer.status
        if not s:
            table.add_row(peer.name, "starting")
            continue
        p50 = s["finality_p50_ms"]
        table.add_row(
            peer.name,
            str(s["height"]),
            str(s["finalised"]),
            str(s["era"]),
            str(s["view"]),
            str(s["peers"]),
            s["state_root"][:16],
            "" if p50 is None else f"{p50:.0f} ms",
            str(s["epochs"]),
        )
    parts: list[Any] = [table, *_epochs(swarm)]
    if swarm.bootstrap:
        parts.append(Text(f"join with: yumad join '{swarm.bootstrap}'   (Ctrl-C ends the swarm)", style="dim"))
    return Group(*parts)


def _epochs(swarm: Swarm) -> list[Table]:
    """Results of the newest epoch of each genesis subnet, as the first authority has them."""
    client = swarm.authorities[0].client
    tables: list[Table] = []
    if client is None:
        return []
    for subnet in swarm.spec.spec.subnets:
        try:
            neurons = client.call("query", name="metagraph", params=[subnet.netuid])["answer"]["members"]
        except YumadError:
            continue
        table = Table(title=f"subnet {subnet.netuid}, newest epoch", title_justify="left")
        for name in ("uid", *_SHOWN):
            table.add_column(name.replace("_", " "), justify="right")
        for neuron in neurons[:_MOST_NEURONS]:
            table.add_row(str(neuron["uid"]), *(_cell(neuron[name]) for name in _SHOWN))
        tables.append(table)
    return tables


def _cell(value: Any) -> str:
    """A value of one mechanism stands alone."""
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, list):
        return " ".join(map(str, value))
    return str(value)
