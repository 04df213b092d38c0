"""What can be asked of a state: one registry behind `query`, JSON-RPC, HTTP and the reference docs (DESIGN 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ...types import U32_MAX
from .authorities import describe_authority
from .balances import current_height
from .calls.call import Argument, ArgumentKind
from .dtao.emission import block_emission, halving_threshold
from .era_sets import era_hotkeys
from .hyperparameters import GLOBAL
from .read import Answer, Read
from .reads_quotes import QUOTE_READS
from .reads_stake import STAKE_READS
from .reads_subnets import SUBNET_READS
from .root_index import root_holders
from .schema import AUTHORITIES, HOTKEYS
from .stakes import ROOT, hotkey_owner, hotkey_stake
from .subnet_creation import current_lock_cost
from .subnets import global_parameter, netuids

if TYPE_CHECKING:
    from ...state.state import State


def chain(state: State) -> dict[str, Any]:
    """Totals of the network."""
    issuance, height = int(state.read("chain/issuance", 0)), current_height(state)
    emission = block_emission(issuance)
    next_halving = next((halving_threshold(k) for k in range(1, 31) if halving_threshold(k) > issuance), None)
    return {
        "height": height,
        "issuance": issuance,
        "minted": int(state.read("chain/minted", 0)),
        "recycled": int(state.read("chain/recycled", 0)),
        "burned": int(state.read("chain/burned", 0)),
        "block_emission": emission,
        "next_halving": next_halving,
        "root_stake": int(state.read("subnets/tao_reserve", ROOT)),
        "total_stake": int(state.read("chain/total_stake", 0)),
        "root_holders": root_holders(state),
        "lock_cost": current_lock_cost(state, height + 1),
        "admin_nonce": int(state.read("chain/admin_nonce", 0)),
        "accounts": int((state.array("accounts/free") > 0).sum()),
        "hotkeys": len(state.key_table(HOTKEYS)),
        "subnets": netuids(state),
    }


def parameters(state: State) -> dict[str, Any]:
    """Network-wide parameters of YUMA section 8 and DTAO section 11."""
    return {entry.name: global_parameter(state, entry.name) for entry in GLOBAL}


def authorities(state: State) -> list[dict[str, Any]]:
    """Every registered authority in hotkey order."""
    found = []
    for hotkey, row in state.key_table(AUTHORITIES).items():
        described = describe_authority(state, row)
        described["root_stake"] = hotkey_stake(state, ROOT, hotkey)
        described["owner"] = hotkey_owner(state, hotkey)
        found.append(described)
    return found


def era_members(state: State, era: int) -> list[bytes]:
    """Hotkeys of the members of an era's set, in the set's order; empty for an era not kept."""
    return [bytes(hotkey) for hotkey in era_hotkeys(state, era)] if era <= U32_MAX else []


_OF_CHAIN: Final = (
    Read("chain", (), chain, "height, issuance, emission and totals"),
    Read("parameters", (), parameters, "network-wide parameters"),
    Read("authorities", (), authorities, "registered authorities"),
    Read("era_members", (Argument("era", ArgumentKind.U64, "era"),), era_members, "hotkeys of an era's authority set"),
)

READS: Final[dict[str, Read]] = {read.name: read for read in (*_OF_CHAIN, *STAKE_READS, *QUOTE_READS, *SUBNET_READS)}
"""Every read by name."""

__all__ = ["READS", "Answer", "Read"]
