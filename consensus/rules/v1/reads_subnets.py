"""Reads of subnets: markets, schedule, parameters, neurons, weights and what the last epoch gave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ...fixed_point import u64_to_proportion
from ...types import AccountId, InvalidError
from .balances import current_height
from .dtao.economy import tao_weight
from .dtao.emission import alpha_issuance, block_emission
from .dtao.shares import root_proportion, weighted_root
from .dtao.units import Alpha
from .hyperparameters import SUBNET
from .identities import subnet_identity_of
from .markets import spot
from .neurons import hotkeys_of, neuron_array, owners_of
from .read import HOTKEY, MECHANISM, NETUID, UID, Read, price_in_rao, require_subnet
from .records import RecordTag, record_accounts
from .schedule import blocks_until_automatic_epoch, due
from .schema_tables import STAKES
from .stakes import ROOT
from .subnet_epoch import stake_vectors
from .subnets import (
    global_parameter,
    mechanism_index,
    mechanism_split,
    netuids,
    neuron_count,
    owner,
    owner_hotkey,
    parameter,
    read_schedule,
)
from .symbols import symbol_of
from .weight_commits import current_epoch, is_revealable, read_commits
from .weights import read_row

if TYPE_CHECKING:
    from ...state.state import State

_NUMBERS: Final = (
    "burn",
    "tao_reserve",
    "alpha_reserve",
    "alpha_out",
    "quote_weight",
    "fee_rate",
    "locked",
    "protocol_alpha",
    "protocol_flow",
    "alpha_burned",
    "root_sell_tao",
    "tao_in_emission",
    "alpha_in_emission",
    "alpha_out_emission",
    "excess_tao",
    "registered_at",
    "first_emission_block",
)


def subnets(state: State) -> list[dict[str, Any]]:
    """All subnets but root in short."""
    return [subnet(state, netuid) for netuid in netuids(state)]


def subnet(state: State, netuid: int) -> dict[str, Any]:
    """One subnet: owner, schedule, market, what is pending, and the last block's emission."""
    require_subnet(state, netuid)
    schedule, height = read_schedule(state, netuid), current_height(state)
    numbers = {name: int(state.read(f"subnets/{name}", netuid)) for name in _NUMBERS}
    issuance = alpha_issuance(Alpha(numbers["alpha_reserve"]), Alpha(numbers["alpha_out"]))
    root = weighted_root(_root_tao(state), tao_weight(global_parameter(state, "tao_weight")))
    return {
        "netuid": netuid,
        "symbol": symbol_of(state, netuid),
        "owner": bytes(owner(state, netuid)),
        "owner_hotkey": bytes(owner_hotkey(state, netuid)),
        "neurons": neuron_count(state, netuid),
        "max_neurons": parameter(state, netuid, "max_allowed_uids"),
        "tempo": schedule.tempo,
        "epoch_index": schedule.epoch_index,
        "last_epoch_block": schedule.last_epoch_block,
        "blocks_to_epoch": None if schedule.tempo == 0 else blocks_until_automatic_epoch(schedule, height),
        "due": due(schedule, height + 1),
        "started": numbers["first_emission_block"] > 0,
        "emission_enabled": bool(parameter(state, netuid, "emission_enabled")),
        "price_rao": price_in_rao(spot(state, netuid)),
        "moving_price_rao": state.read_wide("subnets/moving_price", netuid) * 10**9 >> 32,
        **numbers,
        "alpha_issuance": issuance,
        "alpha_emission": block_emission(issuance),
        "stake": _staked(state, netuid),
        "account_tao": int(state.read("subnets/account", netuid)),
        "volume": state.read_wide("subnets/volume", netuid),
        "root_proportion_ppm": root_proportion(root, issuance) * 10**6 >> 32,
        "miner_burned_ppm": int(state.read("subnets/miner_burned", netuid)) * 10**6 >> 32,
        "pending": {
            name: int(state.read(f"subnets/pending_{name}", netuid))
            for name in ("server", "validator", "root", "owner_cut")
        },
        "identity": subnet_identity_of(state, netuid),
    }


def _root_tao(state: State) -> Any:
    return int(state.read("subnets/tao_reserve", ROOT))


def _staked(state: State, netuid: int) -> int:
    """All alpha that somebody holds as stake."""
    table = state.key_table(STAKES)
    keys = table.matching(((0, 2),), netuid.to_bytes(2, "big"))
    rows = [table.find(key) for key in keys]
    return sum(int(state.read("stakes/amount", row)) for row in rows if row is not None)


def hyperparameters(state: State, netuid: int) -> dict[str, Any]:
    """A subnet's parameters of YUMA section 8 and DTAO section 11."""
    require_subnet(state, netuid)
    found: dict[str, Any] = {entry.name: parameter(state, netuid, entry.name) for entry in SUBNET}
    split = mechanism_split(state, netuid)
    found["mechanism_emission_split"] = None if split is None else list(split)
    found["burn_increase_multiplier"] = state.read_wide("subnets/burn_increase_multiplier", netuid)
    return found


_NEURON_COLUMNS: Final = (
    "registered_at",
    "active",
    "permit",
    "emission",
    "consensus",
    "dividends",
    "validator_trust",
    "stake_weight",
)
_MECHANISM_COLUMNS: Final = ("last_update", "incentive", "weight_count", "bond_count")


def metagraph(state: State, netuid: int) -> dict[str, Any]:
    """Every neuron of a subnet by uid, as of the last epoch."""
    require_subnet(state, netuid)
    mechanisms = range(parameter(state, netuid, "mechanism_count"))
    alpha, tao = (vector.tolist() for vector in stake_vectors(state, netuid))
    weight = u64_to_proportion(global_parameter(state, "tao_weight"))
    columns = {name: neuron_array(state, netuid, name).tolist() for name in _NEURON_COLUMNS}
    of_mechanism = {
        name: [state.array(f"sn/{netuid}/{mechanism}/{name}").tolist() for mechanism in mechanisms]
        for name in _MECHANISM_COLUMNS
    }
    serving = dict.fromkeys(record_accounts(state, RecordTag.AXON, netuid))
    neurons = []
    for uid, (hotkey, coldkey) in enumerate(zip(hotkeys_of(state, netuid), owners_of(state, netuid), strict=True)):
        neuron: dict[str, Any] = {"uid": uid, "hotkey": bytes(hotkey), "coldkey": bytes(coldkey)}
        neuron |= {"stake": alpha[uid], "root_stake": tao[uid], "total_stake": alpha[uid] + ((tao[uid] * weight) >> 32)}
        neuron |= {name: values[uid] for name, values in columns.items()}
        neuron["active"], neuron["permit"] = bool(neuron["active"]), bool(neuron["permit"])
        neuron["serving"] = hotkey in serving
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
    require_subnet(state, netuid)
    if mechanism >= parameter(state, netuid, "mechanism_count") or uid >= neuron_count(state, netuid):
        raise InvalidError(f"subnet {netuid} has no uid {uid} in a mechanism {mechanism}")
    return [list(pair) for pair in read_row(state, f"sn/{netuid}/{mechanism}", kind, uid)]


def weight_commits(state: State, hotkey: AccountId, netuid: int, mechanism: int) -> list[dict[str, Any]]:
    """A hotkey's commits that wait for their reveal, oldest first, with the epoch that is theirs."""
    require_subnet(state, netuid)
    epoch = current_epoch(state, netuid, current_height(state) + 1)
    period = parameter(state, netuid, "reveal_period_epochs")
    return [
        {
            "hash": commit.hash.hex(),
            "block": commit.block,
            "epoch": epoch,
            "reveal_epoch": commit.epoch + period,
            "revealable": is_revealable(commit, epoch, period),
        }
        for commit in read_commits(state, mechanism_index(netuid, mechanism), hotkey)
    ]


def epoch_result(state: State, netuid: int) -> dict[str, Any]:
    """What a subnet's last epoch gave."""
    require_subnet(state, netuid)
    return {
        "netuid": netuid,
        "epoch_index": int(state.read("subnets/epoch_index", netuid)),
        "block": int(state.read("subnets/last_step", netuid)),
        "emission": int(state.read("subnets/last_emission", netuid)),
        "server": int(state.read("subnets/last_server", netuid)),
        "validator": int(state.read("subnets/last_validator", netuid)),
        "neuron_emission": neuron_array(state, netuid, "emission").tolist(),
    }


SUBNET_READS: Final = (
    Read("subnets", (), subnets, "all subnets in short"),
    Read("subnet", (NETUID,), subnet, "one subnet: owner, schedule, market and emission"),
    Read("hyperparameters", (NETUID,), hyperparameters, "parameters of one subnet"),
    Read("metagraph", (NETUID,), metagraph, "every neuron of one subnet"),
    Read("weights", (NETUID, MECHANISM, UID), weights, "one neuron's weights"),
    Read("bonds", (NETUID, MECHANISM, UID), bonds, "one neuron's bonds"),
    Read("weight_commits", (HOTKEY, NETUID, MECHANISM), weight_commits, "commits of one hotkey that wait"),
    Read("epoch_result", (NETUID,), epoch_result, "what the last epoch of a subnet gave"),
)
