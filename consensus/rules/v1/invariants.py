"""What must hold of every state between two blocks, whatever was called (DTAO section 14).

`broken_invariants` reads the whole ledger and is for tests, debug runs and `yumad verify --invariants`: it names each
thing that does not add up, with the numbers. A peer that runs normally does not pay for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import numpy as np

from ...chain_spec_types import ChainSpec
from ...fixed_point import I96F32, Q96
from ...types import U64_MAX
from .dtao.pool import MIN_WEIGHT
from .dtao.root_claims import owed
from .dtao.safe_float import ZERO, SafeFloat, to_u64
from .dtao.share_pool import SharePool, holding
from .dtao.units import DYNAMIC, MAX_SUPPLY, PERQUINTILL_ONE, Alpha
from .lock_totals import OWNER
from .schema import NEURON_STRIDE
from .schema_tables import (
    CHILDKEYS,
    COLDKEYS,
    HOTKEYS,
    LOCK_TOTALS,
    LOCKS,
    POSITIONS,
    ROOT_CLAIMED,
    ROOT_INDEX,
    ROOT_RATES,
    STAKES,
)
from .stakes import ROOT, position_key
from .subnets import global_parameter, netuids, owner_hotkey

if TYPE_CHECKING:
    from ...state.state import State

MAX_CHILDREN: Final = 5

MINT_AT_ONCE: Final = 2 * 10**9
"""What a block may add to an alpha that stands just below its cap: injection and participants' part."""


def broken_invariants(state: State, spec: ChainSpec) -> list[str]:
    """Everything that does not hold, in words with numbers; empty for a sound state."""
    return [failure for check in _CHECKS for failure in check(state, spec)]


def _issuance(state: State, spec: ChainSpec) -> Iterator[str]:
    """TotalIssuance is all TAO there is, and what was minted less what was recycled."""
    issuance = int(state.read("chain/issuance", 0))
    free = sum(state.array("accounts/free").tolist())
    held = sum(state.array("subnets/account").tolist())
    burned = int(state.read("chain/burned", 0))
    if issuance != free + held + burned:
        yield f"issuance {issuance} is not free {free} + subnet accounts {held} + burned {burned}"
    minted, recycled = int(state.read("chain/minted", 0)), int(state.read("chain/recycled", 0))
    if issuance != minted - recycled:
        yield f"issuance {issuance} is not minted {minted} - recycled {recycled}"
    most = max(MAX_SUPPLY, spec.issuance)
    if issuance > most and not spec.faucet_amount:
        yield f"issuance {issuance} is above {most}"


def _reserves(state: State, spec: ChainSpec) -> Iterator[str]:
    """A subnet's account covers its reserve; root's three numbers are one; pool weights stay in bounds."""
    for netuid in netuids(state):
        account, reserve = (int(state.read(f"subnets/{name}", netuid)) for name in ("account", "tao_reserve"))
        if account < reserve:
            yield f"subnet {netuid} holds {account} rao, its reserve is {reserve}"
        weight = int(state.read("subnets/quote_weight", netuid))
        if state.read("subnets/subnet_mechanism", netuid) == DYNAMIC and not (
            MIN_WEIGHT <= weight <= PERQUINTILL_ONE - MIN_WEIGHT
        ):
            yield f"subnet {netuid} has a quote weight of {weight}"
        outstanding, pooled = (int(state.read(f"subnets/{name}", netuid)) for name in ("alpha_out", "alpha_reserve"))
        if outstanding > MAX_SUPPLY + MINT_AT_ONCE:
            yield f"subnet {netuid} has {outstanding} alpha outstanding and {pooled} in its pool"
    root = [int(state.read(f"subnets/{name}", ROOT)) for name in ("account", "tao_reserve", "alpha_out")]
    if len(dict.fromkeys(root)) != 1:
        yield f"root's account, reserve and outstanding stake are {root}, expected the same number three times"


def _alpha(state: State, spec: ChainSpec) -> Iterator[str]:
    """All stake, pendings and unclaimed root dividends of a subnet are covered by its outstanding alpha."""
    staked: dict[int, int] = {}
    for key, row in state.key_table(STAKES).items():
        netuid = int.from_bytes(key[:2], "big")
        staked[netuid] = staked.get(netuid, 0) + int(state.read("stakes/amount", row))
    unclaimed = _unclaimed(state)
    for netuid in [ROOT, *netuids(state)]:
        pendings = ("server", "validator", "root", "owner_cut")
        pending = sum(int(state.read(f"subnets/pending_{name}", netuid)) for name in pendings)
        outstanding = int(state.read("subnets/alpha_out", netuid))
        claims = staked.get(netuid, 0) + pending + unclaimed.get(netuid, 0)
        if claims > outstanding and not global_parameter(state, "ck_burn"):  # see DTAO 13.37 for a child-key burn
            yield (
                f"subnet {netuid}: stake {staked.get(netuid, 0)} + pending {pending} + unclaimed"
                f" {unclaimed.get(netuid, 0)} exceed the outstanding alpha {outstanding}"
            )
    for netuid in staked:
        if not (netuid == ROOT or netuid in netuids(state)):
            yield f"there is stake on subnet {netuid}, which does not exist"


def _unclaimed(state: State) -> dict[int, int]:
    """Whole alpha that root stakers may still claim, by netuid."""
    root_pools = _pools(state, ROOT)
    holders: dict[bytes, list[tuple[bytes, int]]] = {}
    for key, share in _shares(state):
        if key[:2] == b"\0\0":
            worth = int(holding(root_pools.get(key[:34], SharePool()), share))
            holders.setdefault(key[2:34], []).append((key[34:], worth))
    found: dict[int, int] = {}
    claimed = state.key_table(ROOT_CLAIMED)
    for key, row in state.key_table(ROOT_RATES).items():
        netuid, hotkey = int.from_bytes(key[:2], "big"), key[2:]
        rate = I96F32(state.read_wide("root_rates/rate", row))
        for coldkey, held in holders.get(hotkey, ()):
            at = claimed.find(position_key(netuid, hotkey, coldkey))
            taken = 0 if at is None else state.read_wide("root_claimed/amount", at)
            found[netuid] = found.get(netuid, 0) + Q96.to_u64(owed(rate, held, taken))
    return found


def _positions(state: State, spec: ChainSpec) -> Iterator[str]:
    """What the holders behind a hotkey own is not more than its pool's value; no row is empty.

    A share so small that the pool's sum does not show it may outlive the pool, worth nothing (DTAO 13.14).
    """
    pools = _pools(state, None)
    held: dict[bytes, int] = {}
    for key, share in _shares(state):
        pool = pools.get(key[:34])
        if share == ZERO:
            yield f"the share of {key.hex()} is zero"
        elif pool is None:
            if to_u64(share):
                yield f"a share of {key.hex()} is in no pool"
        else:
            held[key[:34]] = held.get(key[:34], 0) + holding(pool, share)
    for key, whole in pools.items():
        if whole == SharePool():
            yield f"the pool {key.hex()} is empty"
        if held.get(key, 0) > whole.value:
            yield f"the pool {key.hex()} is worth {whole.value}, its holders own {held[key]}"


def _root_index(state: State, spec: ChainSpec) -> Iterator[str]:
    """The list that auto-claim draws from is dense, and every coldkey in it knows its place."""
    table = state.key_table(COLDKEYS)
    places = state.array("coldkeys/root_index")
    for place in range(state.rows(ROOT_INDEX.name)):
        coldkey = state.read(ROOT_INDEX.name, place).tobytes()
        row = table.find(coldkey)
        if row is None or int(places[row]) != place + 1:
            yield f"place {place} of the root index holds {coldkey.hex()}, which is not there"
    listed = int((places > 0).sum())
    if listed != state.rows(ROOT_INDEX.name):
        yield f"{listed} coldkeys are in a root index of {state.rows(ROOT_INDEX.name)}"


def _neurons(state: State, spec: ChainSpec) -> Iterator[str]:
    """Uids are occupied without a gap, by hotkeys that exist, each once in a subnet."""
    used = state.array(f"{HOTKEYS}/used")
    hotkeys = state.array("neurons/hotkey").astype(np.int64)
    for netuid in [ROOT, *netuids(state)]:
        count = int(state.read("subnets/neurons", netuid))
        rows = hotkeys[netuid * NEURON_STRIDE : (netuid + 1) * NEURON_STRIDE]
        occupied = rows[:count].tolist()
        if (rows[count:] != 0).any() or 0 in occupied:
            yield f"subnet {netuid} has {count} neurons, but its uids are not occupied up to there and no further"
        elif len(dict.fromkeys(occupied)) != count or not all(used[row - 1] for row in occupied):
            yield f"subnet {netuid} has a hotkey twice or one that is unknown"


def _childkeys(state: State, spec: ChainSpec) -> Iterator[str]:
    """A parent gives away at most its whole stake, to at most five others."""
    given: dict[bytes, list[int]] = {}
    for key, row in state.key_table(CHILDKEYS).items():
        if key[2:34] == key[34:]:
            yield f"{key.hex()} is its own child"
        given.setdefault(key[:34], []).append(int(state.read("childkeys/proportion", row)))
    for key, proportions in given.items():
        if sum(proportions) > U64_MAX or len(proportions) > MAX_CHILDREN:
            yield f"{key.hex()} gives {sum(proportions)} parts of 2^64-1 to {len(proportions)} children"


def _locks(state: State, spec: ChainSpec) -> Iterator[str]:
    """A lock is bound to a known hotkey, and every lock on the owner's hotkey counts in the owner's aggregates.

    Masses of locks and aggregates are not compared: rolling one lock dates the whole aggregate (DTAO 13.31).
    """
    hotkeys = state.key_table(HOTKEYS)
    for key, row in state.key_table(LOCKS).items():
        hotkey = state.read("locks/hotkey", row).tobytes()
        if state.read("locks/mass", row) and hotkeys.find(hotkey) is None:
            yield f"the lock {key.hex()} is bound to {hotkey.hex()}, which is unknown"
    for key, _ in state.key_table(LOCK_TOTALS).items():
        if not key[2] & OWNER and key[3:] == owner_hotkey(state, int.from_bytes(key[:2], "big")):
            yield f"locks on the owner's hotkey are in the aggregate {key.hex()}"


_CHECKS: Final[tuple[Callable[[State, ChainSpec], Iterator[str]], ...]] = (
    _issuance,
    _reserves,
    _alpha,
    _positions,
    _root_index,
    _neurons,
    _childkeys,
    _locks,
)


def _pools(state: State, netuid: int | None) -> dict[bytes, SharePool]:
    """Share pools by key, of one subnet or of all."""
    mantissas, exponents = state.array("stakes/shares_mantissa"), state.array("stakes/shares_exponent")
    amounts = state.array("stakes/amount")
    return {
        key: SharePool(Alpha(int(amounts[row])), _float(mantissas[row].tolist(), int(exponents[row])))
        for key, row in state.key_table(STAKES).items()
        if netuid is None or int.from_bytes(key[:2], "big") == netuid
    }


def _shares(state: State) -> Iterator[tuple[bytes, SafeFloat]]:
    mantissas, exponents = state.array("positions/share_mantissa"), state.array("positions/share_exponent")
    for key, row in state.key_table(POSITIONS).items():
        yield key, _float(mantissas[row].tolist(), int(exponents[row]))


def _float(limbs: list[int], exponent: int) -> SafeFloat:
    return SafeFloat(limbs[0] | limbs[1] << 64, exponent)
