"""What can be asked of a state: one registry behind `query`, JSON-RPC, HTTP and the reference docs (DESIGN section 5).

Reads are pure and give plain values only: integers, booleans, texts, None, lists and dictionaries. A value of type
bytes is always an account and becomes SS58 at the edge; other byte strings are hexadecimal texts already. Amounts are
integers of rao (or of the subnet's own unit of 1e-9).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ...fixed_point import u64_to_proportion
from ...types import U32_MAX, AccountId, InvalidError
from .authorities import describe_authority
from .balances import current_height, free_balance
from .calls.call import Argument, ArgumentKind
from .era_sets import era_hotkeys
from .hyperparameters import GLOBAL, SUBNET
from .neurons import hotkeys_of, neuron_array, owners_of
from .schedule import blocks_until_automatic_epoch, due
from .schema import AUTHORITIES, HOTKEYS, POSITIONS
from .stakes import ROOT, hotkey_owner, hotkey_stake
from .subnet_epoch import stake_vectors
from .subnets import (
    global_parameter,
    mechanism_split,
    netuids,
    neuron_count,
    owner,
    owner_hotkey,
    parameter,
    read_schedule,
    subnet_exists,
)
from .weights import read_row

if TYPE_CHECKING:
    from ...state.state import State

Answer: TypeAlias = "int | bool | str | bytes | list[Any] | dict[str, Any] | None"


@dataclass(frozen=True, slots=True)
class Read:
    """One question. `arguments` are positional, in the form of call arguments."""

    name: str
    arguments: tuple[Argument, ...]
    answer: Callable[..., Answer]
    """Called with the state and the arguments."""
    doc: str


def _no_subnet(netuid: int) -> InvalidError:
    error = InvalidError(f"subnet {netuid} does not exist", remedy="`yumad query subnets` lists those there are")
    error.code = "SubnetNotExists"
    return error


def _require_subnet(state: State, netuid: int, *, root: bool = False) -> None:
    if not subnet_exists(state, netuid) or (netuid == ROOT and not root):
        raise _no_subnet(netuid)


# --- accounts and stake -----------------------------------------------------------------------------------------------


def balance(state: State, account: AccountId) -> int:
    """Free rao of an account."""
    return free_balance(state, account)


def account(state: State, account: AccountId) -> dict[str, Any]:
    """Everything the chain holds for one account: as coldkey, as hotkey, or both."""
    hotkeys = state.key_table(HOTKEYS)
    row = hotkeys.find(account)
    owners = state.array("hotkeys/owner")
    owned = [key for key, at in hotkeys.items() if owners[at].tobytes() == account]
    return {
        "account": bytes(account),
        "free": free_balance(state, account),
        "nonce": state.accounts().nonce(account, current_height(state) + 1),
        "owner": None if row is None else hotkey_owner(state, account),
        "hotkeys": owned,
        "stakes": positions(state, account),
    }


def nonce(state: State, account: AccountId) -> int:
    """The nonce of the account's next transaction."""
    return state.accounts().nonce(account, current_height(state) + 1)


def positions(state: State, coldkey: AccountId) -> list[dict[str, Any]]:
    """A coldkey's stake by subnet and hotkey, root first."""
    return [
        {
            "netuid": int.from_bytes(key[:2], "big"),
            "hotkey": key[2:34],
            "amount": int(state.read("positions/amount", row)),
        }
        for key, row in state.key_table(POSITIONS).items()
        if key[34:] == coldkey
    ]


def stake(state: State, hotkey: AccountId, netuid: int) -> dict[str, Any]:
    """Stake behind a hotkey on one subnet, and its root stake."""
    _require_subnet(state, netuid, root=True)
    return {
        "hotkey": bytes(hotkey),
        "netuid": netuid,
        "owner": hotkey_owner(state, hotkey),
        "stake": hotkey_stake(state, netuid, hotkey),
        "root_stake": hotkey_stake(state, ROOT, hotkey),
    }


# --- chain and authorities --------------------------------------------------------------------------------------------


def chain(state: State) -> dict[str, Any]:
    """Totals of the network."""
    return {
        "height": current_height(state),
        "issuance": int(state.read("chain/issuance", 0)),
        "burned": int(state.read("chain/burned", 0)),
        "root_stake": int(state.read("subnets/stake", ROOT)),
        "admin_nonce": int(state.read("chain/admin_nonce", 0)),
        "accounts": int((state.array("accounts/free") > 0).sum()),
        "hotkeys": len(state.key_table(HOTKEYS)),
        "subnets": netuids(state),
    }


def parameters(state: State) -> dict[str, Any]:
    """Network-wide parameters of YUMA section 8."""
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


# --- subnets ----------------------------------------------------------------------------------------------------------


def subnets(state: State) -> list[dict[str, Any]]:
    """All subnets but root in short."""
    return [subnet(state, netuid) for netuid in netuids(state)]


def subnet(state: State, netuid: int) -> dict[str, Any]:
    """One subnet in short."""
    _require_subnet(state, netuid)
    schedule, height = read_schedule(state, netuid), current_height(state)
    return {
        "netuid": netuid,
        "owner": bytes(owner(state, netuid)),
        "owner_hotkey": bytes(owner_hotkey(state, netuid)),
        "neurons": neuron_count(state, netuid),
        "max_neurons": parameter(state, netuid, "max_allowed_uids"),
        "tempo": schedule.tempo,
        "epoch_index": schedule.epoch_index,
        "last_epoch_block": schedule.last_epoch_block,
        "blocks_to_epoch": None if schedule.tempo == 0 else blocks_until_automatic_epoch(schedule, height),
        "due": due(schedule, height + 1),
        "burn": int(state.read("subnets/burn", netuid)),
        "stake": int(state.read("subnets/stake", netuid)),
        "tao_reserve": int(state.read("subnets/tao_reserve", netuid)),
        "alpha_issuance": int(state.read("subnets/alpha_issuance", netuid)),
        "pending_emission": int(state.read("subnets/pending_emission", netuid)),
        "emission_per_block": int(state.read("subnets/emission_per_block", netuid)),
    }


def hyperparameters(state: State, netuid: int) -> dict[str, Any]:
    """A subnet's parameters of YUMA section 8."""
    _require_subnet(state, netuid)
    found: dict[str, Any] = {entry.name: parameter(state, netuid, entry.name) for entry in SUBNET}
    split = mechanism_split(state, netuid)
    found["mechanism_emission_split"] = None if split is None else list(split)
    found["burn_increase_multiplier"] = state.read_wide("subnets/burn_increase_multiplier", netuid)
    return found


def metagraph(state: State, netuid: int) -> dict[str, Any]:
    """Every neuron of a subnet by uid, as of the last epoch."""
    _require_subnet(state, netuid)
    mechanisms = range(parameter(state, netuid, "mechanism_count"))
    alpha, tao = (vector.tolist() for vector in stake_vectors(state, netuid))
    weight = u64_to_proportion(global_parameter(state, "tao_weight"))
    columns = {
        name: neuron_array(state, netuid, name).tolist()
        for name in (
            "registered_at",
            "active",
            "permit",
            "emission",
            "consensus",
            "dividends",
            "validator_trust",
            "stake_weight",
        )
    }
    of_mechanism = {
        name: [state.array(f"sn/{netuid}/{mechanism}/{name}").tolist() for mechanism in mechanisms]
        for name in ("last_update", "incentive", "weight_count", "bond_count")
    }
    neurons = []
    for uid, (hotkey, coldkey) in enumerate(zip(hotkeys_of(state, netuid), owners_of(state, netuid), strict=True)):
        neuron: dict[str, Any] = {"uid": uid, "hotkey": bytes(hotkey), "coldkey": bytes(coldkey)}
        neuron |= {"stake": alpha[uid], "root_stake": tao[uid], "total_stake": alpha[uid] + ((tao[uid] * weight) >> 32)}
        neuron |= {name: values[uid] for name, values in columns.items()}
        neuron["active"], neuron["permit"] = bool(neuron["active"]), bool(neuron["permit"])
        neuron |= {name: [values[uid] for values in vectors] for name, vectors in of_mechanism.items()}
        neurons.append(neuron)
    return {**subnet(state, netuid), "height": current_height(state), "members": neurons}


def weights(state: State, netuid: int, mechanism: int, uid: int) -> list[list[int]]:
    """One uid's stored weights as [uid, value] pairs in submission order."""
    return _row(state, netuid, mechanism, uid, "weight")


def bonds(state: State, netuid: int, mechanism: int, uid: int) -> list[list[int]]:
    """One uid's stored bonds as [uid, value] pairs."""
    return _row(state, netuid, mechanism, uid, "bond")


def _row(state: State, netuid: int, mechanism: int, uid: int, kind: str) -> list[list[int]]:
    _require_subnet(state, netuid)
    if mechanism >= parameter(state, netuid, "mechanism_count") or uid >= neuron_count(state, netuid):
        raise InvalidError(f"subnet {netuid} has no uid {uid} in a mechanism {mechanism}")
    return [list(pair) for pair in read_row(state, f"sn/{netuid}/{mechanism}", kind, uid)]


def epoch_result(state: State, netuid: int) -> dict[str, Any]:
    """What a subnet's last epoch gave."""
    _require_subnet(state, netuid)
    return {
        "netuid": netuid,
        "epoch_index": int(state.read("subnets/epoch_index", netuid)),
        "block": int(state.read("subnets/last_step", netuid)),
        "emission": int(state.read("subnets/last_emission", netuid)),
        "server": int(state.read("subnets/last_server", netuid)),
        "validator": int(state.read("subnets/last_validator", netuid)),
        "neuron_emission": neuron_array(state, netuid, "emission").tolist(),
    }


_ACCOUNT: Final = Argument("account", ArgumentKind.ACCOUNT, "account")
_NETUID: Final = Argument("netuid", ArgumentKind.U16, "subnet")
_MECHANISM: Final = Argument("mechanism", ArgumentKind.U8, "mechanism")
_UID: Final = Argument("uid", ArgumentKind.U16, "neuron")

_ALL: Final = (
    Read("account", (_ACCOUNT,), account, "balance, nonce, hotkeys and stakes of one account"),
    Read("balance", (_ACCOUNT,), balance, "free rao of one account"),
    Read("nonce", (_ACCOUNT,), nonce, "nonce of an account's next transaction"),
    Read("positions", (_ACCOUNT,), positions, "stakes of one coldkey"),
    Read("stake", (Argument("hotkey", ArgumentKind.ACCOUNT, "hotkey"), _NETUID), stake, "stake behind one hotkey"),
    Read("chain", (), chain, "height, issuance and totals"),
    Read("parameters", (), parameters, "network-wide parameters"),
    Read("authorities", (), authorities, "registered authorities"),
    Read("era_members", (Argument("era", ArgumentKind.U64, "era"),), era_members, "hotkeys of an era's authority set"),
    Read("subnets", (), subnets, "all subnets in short"),
    Read("subnet", (_NETUID,), subnet, "one subnet in short"),
    Read("hyperparameters", (_NETUID,), hyperparameters, "parameters of one subnet"),
    Read("metagraph", (_NETUID,), metagraph, "every neuron of one subnet"),
    Read("weights", (_NETUID, _MECHANISM, _UID), weights, "one neuron's weights"),
    Read("bonds", (_NETUID, _MECHANISM, _UID), bonds, "one neuron's bonds"),
    Read("epoch_result", (_NETUID,), epoch_result, "what the last epoch of a subnet gave"),
)

READS: Final[dict[str, Read]] = {read.name: read for read in _ALL}
"""Every read by name."""
