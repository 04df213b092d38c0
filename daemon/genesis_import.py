"""The real network as a genesis: its snapshot of balances and stakes, and one real subnet (DESIGN section 7).

The snapshot's holders cannot sign here, so a test spec adds development funds on top; every rao of the snapshot stays
with the account that held it. The subnet's neurons get keys derived from their uid, so that its validators can be run.
Numbers of the subnet file are 32-bit floats; they are read as exact rationals, and no float arithmetic is done.
"""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..consensus.chain_spec import ChainSpec, NeuronSpec, SubnetSpec, WeightsSpec, check_chain_spec
from ..consensus.chain_spec_fields import kinds_of
from ..consensus.chain_spec_parameters import ChainParameters
from ..consensus.chain_spec_toml import EVEN_QUOTE_WEIGHT, RULES_VERSION, first_moving_price
from ..consensus.chain_spec_types import AuthoritySpec
from ..consensus.dev_accounts import dev_keypair
from ..consensus.profiles import Profile
from ..consensus.ss58 import decode_address
from ..consensus.types import AccountId, InvalidError, MalformedError, Micros, Netuid, Rao

SNAPSHOT_TOTAL: Final = 4_181_329_662_284_940
"""Rao in the real snapshot, balances and stakes together: the network's issuance at its genesis."""

_MAX_SNAPSHOT_BYTES: Final = 64 << 20
"""The real file unpacks to 2 MB."""

_WEIGHT_MAX: Final = 65_535

GENESIS_UPDATE: Final = 1
"""`last_update` of imported neurons: after their registration at block 0, so no weight counts as stale (YUMA 3.5)."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Holdings of the real network."""

    balances: tuple[tuple[AccountId, Rao], ...]
    """(coldkey, free TAO), sorted by account."""
    stakes: tuple[tuple[AccountId, AccountId, Rao], ...]
    """(hotkey, coldkey, stake), sorted by hotkey."""

    @property
    def total(self) -> int:
        """All rao."""
        return sum(amount for _, amount in self.balances) + sum(stake for _, _, stake in self.stakes)


def read_snapshot(data: bytes, *, expected_total: int = SNAPSHOT_TOTAL) -> Snapshot:
    """The holdings in `{"stakes": {coldkey: {hotkey: [rao, uid]}}, "balances": {coldkey: rao}}`, plain or gzipped.

    Raises MalformedError for another form, an account listed twice or a hotkey under two coldkeys, InvalidError unless
    everything sums to `expected_total` to the rao.
    """
    document = _read_json(data)
    if not isinstance(document, dict) or sorted(document) != ["balances", "stakes"]:
        raise MalformedError("the snapshot is not an object with `balances` and `stakes`")
    balances = sorted((decode_address(account), Rao(_rao(amount))) for account, amount in document["balances"].items())
    stakes = []
    for coldkey, hotkeys in document["stakes"].items():
        owner = decode_address(coldkey)
        for hotkey, entry in hotkeys.items():
            if not isinstance(entry, list) or not entry:
                raise MalformedError(f"the stake of {hotkey} is {entry!r}, expected [rao, uid]")
            stakes.append((decode_address(hotkey), owner, Rao(_rao(entry[0]))))
    snapshot = Snapshot(tuple(balances), tuple(sorted(stakes)))
    if snapshot.total != expected_total:
        raise InvalidError(
            f"the snapshot sums to {snapshot.total} rao, expected {expected_total}",
            remedy="fetch the file again, or say with --expect-total what another snapshot sums to",
        )
    return snapshot


def _read_json(data: bytes) -> Any:
    try:
        if data[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
                data = packed.read(_MAX_SNAPSHOT_BYTES + 1)
        if len(data) > _MAX_SNAPSHOT_BYTES:
            raise MalformedError(f"the snapshot is larger than {_MAX_SNAPSHOT_BYTES} bytes")
        return json.loads(data, object_pairs_hook=_each_once)
    except (OSError, EOFError, ValueError, RecursionError) as error:
        raise MalformedError(f"the snapshot is not readable JSON: {error}") from None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedError("the snapshot lists an account twice")
    return found


def _rao(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise MalformedError(f"the snapshot has an amount of {value!r}, expected whole rao")
    return value


def import_spec(
    snapshot: Snapshot,
    subnets: Sequence[SubnetSpec],
    *,
    profile: Profile,
    name: str,
    genesis_time: Micros,
    salt: bytes,
    authorities: Sequence[AuthoritySpec],
    authority_stake: Rao,
    dev_names: Sequence[str],
    dev_funds: Rao,
) -> ChainSpec:
    """A checked spec of the snapshot, `subnets`, and the development funds that make it usable.

    Issuance is the snapshot's total + `dev_funds` for each of `dev_names` + `authority_stake` for each authority + the
    TAO in the subnets' pools.
    """
    held = {hotkey for hotkey, _, _ in snapshot.stakes}
    if any(authority.hotkey in held for authority in authorities):
        raise InvalidError("an authority's hotkey is one of the snapshot's", remedy="use a hotkey of your own")
    balances = dict(snapshot.balances)
    for dev_name in dev_names:
        account = AccountId(dev_keypair(dev_name).public_key)
        balances[account] = Rao(balances.get(account, 0) + dev_funds)
    staked = [(authority.hotkey, authority.coldkey, authority_stake) for authority in authorities]
    spec = ChainSpec(
        **{field: getattr(profile.chain, field) for field in kinds_of(ChainParameters)},
        name=name,
        profile=profile.name,
        genesis_time=genesis_time,
        salt=salt,
        rules_version=RULES_VERSION,
        fees=profile.fees,
        parameters=profile.parameters,
        admin_keys=(),
        admin_threshold=0,
        recovery_keys=(),
        recovery_threshold=0,
        dev_names=tuple(dev_names),
        balances=tuple(sorted(balances.items())),
        stakes=tuple(sorted([*snapshot.stakes, *staked])),
        authorities=tuple(sorted(authorities, key=lambda authority: authority.hotkey)),
        subnets=tuple(sorted(subnets, key=lambda subnet: subnet.netuid)),
    )
    expected = snapshot.total + dev_funds * len(dev_names) + authority_stake * len(authorities)
    expected += sum(subnet.tao_reserve for subnet in subnets)
    if spec.issuance != expected:
        raise InvalidError(f"the spec's issuance is {spec.issuance} rao, expected {expected}")
    check_chain_spec(spec)
    return spec


# --- the subnet -------------------------------------------------------------------------------------------------------


def read_subnet(data: bytes, profile: Profile) -> SubnetSpec:
    """The subnet in an `.npz` metagraph with the arrays of `_ARRAYS`.

    Stakes are floored to 1e-9, each weight row is scaled so that its largest entry is 65535, permits go to the highest
    stakes, commit-reveal is off. Raises MalformedError for another form.
    """
    arrays = _read_arrays(data)
    n, netuid = int(arrays["in_n"].reshape(-1)[0]), int(arrays["in_netuid"].reshape(-1)[0])
    if not 0 < n <= profile.hyperparameters.max_allowed_uids or arrays["in_stake"].shape != (n,):
        raise MalformedError(f"the subnet has {n} neurons and {arrays['in_stake'].shape} stakes")
    stakes = [_floor_to_billionths(value) for value in exact_rationals(arrays["in_stake"])]
    permits = highest_uids(stakes, profile.hyperparameters.max_allowed_validators)
    neurons = tuple(
        NeuronSpec(
            hotkey=neuron_account(netuid, uid),
            coldkey=AccountId(dev_keypair(f"sn{netuid}/{uid}/coldkey").public_key),
            stake=Rao(stakes[uid]),
            registration_block=0,
            last_update=GENESIS_UPDATE,
            permit=uid in permits,
        )
        for uid in range(n)
    )
    return SubnetSpec(
        netuid=Netuid(netuid),
        owner_hotkey=AccountId(dev_keypair(f"sn{netuid}/owner/hotkey").public_key),
        owner_coldkey=AccountId(dev_keypair(f"sn{netuid}/owner").public_key),
        tao_reserve=profile.reserve,
        alpha_reserve=profile.reserve,
        quote_weight=EVEN_QUOTE_WEIGHT,
        moving_price=first_moving_price(profile.reserve, profile.reserve, EVEN_QUOTE_WEIGHT),
        started=True,
        hyperparameters=replace(profile.hyperparameters, commit_reveal_weights_enabled=False),
        neurons=neurons,
        weights=_weight_rows(arrays, n),
    )


def neuron_account(netuid: int, uid: int) -> AccountId:
    """Hotkey of an imported neuron: the development account `sn<netuid>/<uid>`."""
    return AccountId(dev_keypair(f"sn{netuid}/{uid}").public_key)


_ARRAYS: Final = ("in_n", "in_netuid", "in_stake", "in_weight_row", "in_weight_col", "in_weight_val")


def _read_arrays(data: bytes) -> dict[str, NDArray[Any]]:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as packed:
            arrays = {name: np.asarray(packed[name]) for name in _ARRAYS}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise MalformedError(f"the subnet file is not a metagraph: {error}") from None
    rows, cols, values = (arrays[name] for name in _ARRAYS[3:])
    if not rows.shape == cols.shape == values.shape or rows.ndim != 1:
        raise MalformedError("the subnet's weight rows, columns and values differ in length")
    for name in ("in_stake", "in_weight_val"):
        if arrays[name].dtype != np.dtype("<f4"):
            raise MalformedError(f"{name} has type {arrays[name].dtype}, expected 32-bit floats")
    for name in ("in_n", "in_netuid", "in_weight_row", "in_weight_col"):
        if arrays[name].dtype.kind not in "iu" or arrays[name].size == 0:
            raise MalformedError(f"{name} has type {arrays[name].dtype}, expected integers")
    return arrays


def exact_rationals(values: NDArray[np.float32]) -> list[tuple[int, int]]:
    """(numerator, denominator) of each 32-bit float, read from its bits.

    Raises MalformedError for a negative or infinite number.
    """
    found = []
    for bits in np.ascontiguousarray(values).view("<u4").tolist():
        exponent, fraction = bits >> 23 & 0xFF, bits & 0x7FFFFF
        if (bits >> 31 and bits != 1 << 31) or exponent == 0xFF:
            raise MalformedError("the subnet file has a negative or infinite number")
        significand = fraction | 1 << 23 if exponent else fraction
        power = max(exponent, 1) - 150  # value = significand * 2^power
        found.append((significand << power, 1) if power >= 0 else (significand, 1 << -power))
    return found


def _floor_to_billionths(value: tuple[int, int]) -> int:
    numerator, denominator = value
    return numerator * 10**9 // denominator


def highest_uids(stakes: Sequence[int], k: int) -> list[int]:
    """Uids of the `k` highest stakes above zero; on ties the lower uid loses (YUMA 3.3, TOPK)."""
    ranked = sorted(range(len(stakes)), key=lambda uid: (stakes[uid], uid))
    return sorted(uid for uid in ranked[max(0, len(ranked) - k) :] if stakes[uid])


def _weight_rows(arrays: dict[str, NDArray[Any]], n: int) -> tuple[WeightsSpec, ...]:
    rows: dict[int, list[tuple[int, tuple[int, int]]]] = {}
    values = exact_rationals(arrays["in_weight_val"])
    for uid, target, value in zip(
        arrays["in_weight_row"].tolist(), arrays["in_weight_col"].tolist(), values, strict=True
    ):
        if not 0 <= uid < n or not 0 <= target < n:
            raise MalformedError(f"the subnet has a weight from uid {uid} to {target}, but {n} neurons")
        rows.setdefault(uid, []).append((target, value))
    return tuple(
        WeightsSpec(
            0,
            uid,
            np.array([target for target, _ in rows[uid]], dtype="<u2").tobytes(),
            np.array(scale_to_u16([value for _, value in rows[uid]]), dtype="<u2").tobytes(),
        )
        for uid in sorted(rows)
    )


def scale_to_u16(row: Sequence[tuple[int, int]]) -> list[int]:
    """Each rational times 65535 / largest, rounded to the nearest integer, halves up; all zero stays zero."""
    common = max(denominator for _, denominator in row)  # denominators are powers of two
    numerators = [numerator * (common // denominator) for numerator, denominator in row]
    largest = max(numerators)
    if not largest:
        return [0] * len(row)
    return [(2 * numerator * _WEIGHT_MAX + largest) // (2 * largest) for numerator in numerators]
