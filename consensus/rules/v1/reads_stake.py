"""Reads of accounts, stake, claims, child keys and locks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ...types import AccountId
from .balances import current_height, free_balance
from .children import childkey_take, children_of, parents_of, pending_children
from .coldkey_swap import announced_swap
from .commitments import commitment_of
from .dtao.pool import MIN_PRICE, Side, SwapError
from .identities import identity_of
from .locks import current_lock, takes_locked_alpha, unlocked_alpha
from .markets import read_pool, simulate
from .read import ACCOUNT, COLDKEY, HOTKEY, NETUID, Read, require_subnet
from .records import RecordTag
from .root_stake import ClaimType, keeps_dividends, owed_dividend, root_rates
from .schema_tables import AUTO_STAKES, COLDKEYS
from .serving import served_record
from .stake_values import alpha_value, total_stake_value
from .stakes import (
    ROOT,
    hotkey_owner,
    hotkey_stake,
    owned_hotkeys,
    positions_of_coldkey,
    positions_of_hotkey,
    stake_key,
    staking_hotkeys,
)
from .subnets import netuids, subnet_exists
from .takes import delegate_take

if TYPE_CHECKING:
    from ...state.state import State


def balance(state: State, account: AccountId) -> int:
    """Free rao of an account."""
    return free_balance(state, account)


def nonce(state: State, account: AccountId) -> int:
    """The nonce of the account's next transaction."""
    return state.accounts().nonce(account, current_height(state) + 1)


def account(state: State, account: AccountId) -> dict[str, Any]:
    """Everything the chain holds for one account: as coldkey, as hotkey, or both."""
    return {
        "account": bytes(account),
        "free": free_balance(state, account),
        "nonce": nonce(state, account),
        "owner": hotkey_owner(state, account),
        "hotkeys": [bytes(hotkey) for hotkey in owned_hotkeys(state, account)],
        "stakes": positions(state, account),
        "identity": identity_of(state, account),
        "announced_swap": _announced(state, account),
    }


def _announced(state: State, coldkey: AccountId) -> dict[str, Any] | None:
    announced = announced_swap(state, coldkey)
    if announced is None:
        return None
    at, named, disputed = announced
    return {"block": at, "hash": named.hex(), "disputed": disputed}


def positions(state: State, coldkey: AccountId) -> list[dict[str, Any]]:
    """A coldkey's stake by subnet and hotkey, root first: its worth at the spot price, and what a sale would give."""
    return [
        {
            "netuid": netuid,
            "hotkey": bytes(hotkey),
            "amount": amount,
            "tao_value": alpha_value(state, netuid, amount),
            "at_sale": _sale(state, netuid, amount),
        }
        for netuid, hotkey, amount in positions_of_coldkey(state, coldkey)
    ]


def _sale(state: State, netuid: int, amount: int) -> int | None:
    try:
        return simulate(read_pool(state, netuid), Side.SELL, amount, MIN_PRICE).paid_out if amount else 0
    except SwapError:
        return None


def stake(state: State, hotkey: AccountId, netuid: int) -> dict[str, Any]:
    """Stake behind a hotkey on one subnet, and its root stake."""
    require_subnet(state, netuid, root=True)
    return {
        "hotkey": bytes(hotkey),
        "netuid": netuid,
        "owner": hotkey_owner(state, hotkey),
        "stake": hotkey_stake(state, netuid, hotkey),
        "root_stake": hotkey_stake(state, ROOT, hotkey),
        "tao_value": total_stake_value(state, hotkey),
        "take": delegate_take(state, hotkey),
    }


def nominators(state: State, hotkey: AccountId, netuid: int) -> list[dict[str, Any]]:
    """Everybody with a share behind a hotkey on one subnet."""
    require_subnet(state, netuid, root=True)
    return [
        {"coldkey": bytes(coldkey), "amount": amount} for coldkey, amount in positions_of_hotkey(state, netuid, hotkey)
    ]


def delegate(state: State, hotkey: AccountId) -> dict[str, Any]:
    """A hotkey's take, owner and stake on every subnet."""
    everywhere = [ROOT, *netuids(state)]
    return {
        "hotkey": bytes(hotkey),
        "owner": hotkey_owner(state, hotkey),
        "take": delegate_take(state, hotkey),
        "tao_value": total_stake_value(state, hotkey),
        "stakes": [
            {"netuid": netuid, "amount": amount}
            for netuid in everywhere
            if (amount := hotkey_stake(state, netuid, hotkey))
        ],
    }


def children(state: State, hotkey: AccountId, netuid: int) -> dict[str, Any]:
    """A hotkey's children and parents on a subnet, its child-key take, and a set that waits."""
    require_subnet(state, netuid)
    waiting = pending_children(state, netuid, hotkey)

    def edges(relations: Any) -> list[dict[str, Any]]:
        return [{"hotkey": bytes(relation.hotkey), "proportion": relation.proportion} for relation in relations]

    return {
        "children": edges(children_of(state, netuid, hotkey)),
        "parents": edges(parents_of(state, netuid, hotkey)),
        "childkey_take": childkey_take(state, netuid, hotkey),
        "pending": None if waiting is None else {"cooldown": waiting[0], "children": edges(waiting[1])},
    }


def root_claims(state: State, coldkey: AccountId) -> dict[str, Any]:
    """What a coldkey may claim of root dividends, by hotkey and subnet, and what becomes of it."""
    row = state.key_table(COLDKEYS).find(coldkey)
    chosen = ClaimType.SWAP if row is None else ClaimType(state.read("coldkeys/claim_type", row))
    claims = []
    for hotkey in staking_hotkeys(state, coldkey):
        for netuid, rate in root_rates(state, hotkey):
            owed = max(owed_dividend(state, netuid, hotkey, coldkey, rate), 0) >> 32
            if owed and subnet_exists(state, netuid):
                claims.append(
                    {
                        "hotkey": bytes(hotkey),
                        "netuid": netuid,
                        "claimable_alpha": owed,
                        "tao_value": alpha_value(state, netuid, owed),
                        "keeps": keeps_dividends(state, coldkey, netuid),
                    }
                )
    return {"claim_type": chosen.name.lower(), "claims": claims}


def lock(state: State, coldkey: AccountId, netuid: int) -> dict[str, Any]:
    """A coldkey's lock on a subnet as of now, and what it may take out there."""
    require_subnet(state, netuid)
    height = current_height(state)
    held = current_lock(state, netuid, coldkey, height)
    return {
        "hotkey": None if held is None else bytes(held.hotkey),
        "mass": 0 if held is None else held.lock.mass,
        "conviction": 0 if held is None else held.lock.conviction >> 64,
        "perpetual": held is not None and held.perpetual,
        "unlocked": unlocked_alpha(state, netuid, coldkey, height),
        "accepts_locked_alpha": takes_locked_alpha(state, coldkey),
    }


def auto_stake(state: State, coldkey: AccountId, netuid: int) -> bytes | None:
    """The hotkey on which a coldkey's mining income of a subnet is staked, or none."""
    row = state.key_table(AUTO_STAKES).find(stake_key(netuid, coldkey))
    found: bytes | None = None if row is None else state.read("auto_stakes/hotkey", row).tobytes()
    return found


def axon(state: State, hotkey: AccountId, netuid: int) -> dict[str, Any] | None:
    """Which peer serves a hotkey's axon on a subnet."""
    require_subnet(state, netuid)
    served = served_record(state, RecordTag.AXON, netuid, hotkey)
    return None if served is None else {**served, "peer_id": served["peer_id"].hex()}


def commitment(state: State, account: AccountId, netuid: int) -> dict[str, Any] | None:
    """What a neuron published on its subnet."""
    require_subnet(state, netuid)
    return commitment_of(state, netuid, account)


STAKE_READS: Final = (
    Read("account", (ACCOUNT,), account, "balance, nonce, hotkeys, stakes and identity of one account"),
    Read("balance", (ACCOUNT,), balance, "free rao of one account"),
    Read("nonce", (ACCOUNT,), nonce, "nonce of an account's next transaction"),
    Read("positions", (ACCOUNT,), positions, "stakes of one coldkey with their worth"),
    Read("stake", (HOTKEY, NETUID), stake, "stake behind one hotkey"),
    Read("nominators", (HOTKEY, NETUID), nominators, "everybody behind one hotkey on one subnet"),
    Read("delegate", (HOTKEY,), delegate, "take and stakes of one hotkey"),
    Read("children", (HOTKEY, NETUID), children, "child keys and parents of one hotkey on one subnet"),
    Read("root_claims", (COLDKEY,), root_claims, "root dividends that a coldkey may claim"),
    Read("lock", (COLDKEY, NETUID), lock, "a coldkey's lock on one subnet"),
    Read("auto_stake", (COLDKEY, NETUID), auto_stake, "where a coldkey's mining income goes"),
    Read("axon", (HOTKEY, NETUID), axon, "which peer serves a hotkey"),
    Read("commitment", (ACCOUNT, NETUID), commitment, "what a neuron published"),
)
