"""The live table of a swarm: one row a peer, and the newest epoch results under it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from ..consensus.types import YumadError

if TYPE_CHECKING:
    from .swarm import Swarm
    from .swarm_play import Play

_MOST_NEURONS: Final = 12
_SHOWN: Final = ("permit", "active", "consensus", "incentive", "dividends", "validator_trust", "emission")


def swarm_table(swarm: Swarm, play: Play | None = None) -> Group:
    """What the swarm looks like now, and how an example's cast is paid."""
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
    parts: list[Any] = [table, *(_epochs(swarm) if play is None else [_cast(play)])]
    if swarm.bootstrap:
        parts.append(Text(f"join with: yumad join '{swarm.bootstrap}'   (Ctrl-C ends the swarm)", style="dim"))
    return Group(*parts)


def _cast(play: Play) -> Table:
    """The played subnet: who is who, and what the newest epoch gave."""
    weights = "revealed" if any(seen.revealed for seen in play.seen.values()) else "not revealed yet"
    if not any(seen.commits for seen in play.seen.values()):
        weights = "not committed yet"
    title = f"{play.example.name}: weights {weights}, {play.paid_epochs} paid epochs"
    table = Table(title=title, title_justify="left")
    for name in ("uid", "role", "miner", *_SHOWN):
        table.add_column(name.replace("_", " "), justify="left" if name in ("role", "miner") else "right")
    for neuron in play.neurons[:_MOST_NEURONS]:
        cells = (_cell(neuron[name]) for name in _SHOWN)
        table.add_row(str(neuron["uid"]), neuron["role"], neuron["variant"], *cells)
    return table


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
