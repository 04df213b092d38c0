"""What one epoch read and paid: the record from which a payout is explained (`yumad explain`), and its bytes.

A record is complete: running the epoch on it again gives the same result to the bit. It is no part of any commitment;
a peer keeps the newest ones so that a payout can be explained after the state has moved on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ... import cbor
from ...fixed_point import I96F32, U96F32
from ...types import AccountId, MalformedError
from .dtao.distribution import Distribution, Holder, HotkeyEmission, PayoutRules, Relation, distribute
from .dtao.economy import Pending
from .dtao.safe_float import SafeFloat
from .dtao.share_pool import SharePool
from .dtao.units import Alpha
from .payout import Growth, Payment, PaymentKind, Payout, RootAccrual
from .yuma.inputs import EpochInput, EpochParameters
from .yuma.sparse_rows import SparseRows, pack_rows

FORMAT: Final = 1
"""Number of this encoding."""

MAX_RECORD_BYTES: Final = 64 << 20
"""Two mechanisms of full matrices are 2 MiB; many holders behind each of 64 validators add more."""

_KINDS: Final = tuple(PaymentKind)


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One subnet's epoch. The arrays are its own: later blocks do not change them."""

    netuid: int
    height: int
    split: tuple[int, ...] | None
    """Parts of 65535 by mechanism, None for an even split."""
    inputs: tuple[EpochInput, ...]
    """Of each mechanism, in order, their emission not yet set; none for a subnet without neurons."""
    payout: Payout


def encode_record(record: EpochRecord) -> bytes:
    """The record as canonical CBOR."""
    payout = record.payout
    return cbor.encode(
        [
            FORMAT,
            record.netuid,
            record.height,
            list(record.split or ()),
            [_input_value(case) for case in record.inputs],
            list(payout.pending),
            [[e.hotkey, e.incentive, e.dividend] for e in payout.emissions],
            [[key, h.coldkey, h.alpha, h.root_tao, h.childkey_take] for key, h in payout.holders.items()],
            _relations_value(payout.parents),
            _relations_value(payout.children),
            payout.validator_pot,
            [_wide(payout.rules.tao_weight), _wide(payout.rules.childkey_burn)],
            [[_KINDS.index(p.kind), p.earner, p.hotkey, p.coldkey, p.amount] for p in payout.payments],
            [_growth_value(growth) for growth in payout.growths],
            [[a.hotkey, a.amount, _wide(a.rate), [list(pair) for pair in a.holders]] for a in payout.accruals],
        ]
    )


def decode_record(data: bytes) -> EpochRecord:
    """Inverse of `encode_record`; what follows from the rest is computed again. Raises MalformedError."""
    f = cbor.as_array(cbor.decode(data, max_bytes=MAX_RECORD_BYTES), 15, what="epoch record")
    if f[0] != FORMAT:
        raise MalformedError(f"epoch record has format {f[0]}, expected {FORMAT}")
    emissions = tuple(HotkeyEmission(AccountId(key), Alpha(work), Alpha(judging)) for key, work, judging in f[6])
    holders = {AccountId(key): Holder(AccountId(coldkey), alpha, tao, take) for key, coldkey, alpha, tao, take in f[7]}
    parents, children = _relations(f[8]), _relations(f[9])
    pending = Pending(*(Alpha(amount) for amount in f[5]))
    rules = PayoutRules(U96F32(_from_wide(f[11][0])), U96F32(_from_wide(f[11][1])))
    pot = Alpha(f[10])
    distribution: Distribution = distribute(emissions, pot, pending.root, holders, parents, children, rules)
    payout = Payout(
        pending=pending,
        emissions=emissions,
        holders=holders,
        parents=parents,
        children=children,
        validator_pot=pot,
        rules=rules,
        distribution=distribution,
        payments=tuple(
            Payment(_KINDS[kind], AccountId(earner), AccountId(hotkey), AccountId(coldkey), amount)
            for kind, earner, hotkey, coldkey, amount in f[12]
        ),
        growths=tuple(_growth(value) for value in f[13]),
        accruals=tuple(
            RootAccrual(AccountId(key), amount, I96F32(_from_wide(rate)), tuple((AccountId(c), v) for c, v in holders))
            for key, amount, rate, holders in f[14]
        ),
        events=(),
    )
    return EpochRecord(f[1], f[2], tuple(f[3]) or None, tuple(_input(value) for value in f[4]), payout)


# --- inputs -----------------------------------------------------------------------------------------------------------


def _input_value(case: EpochInput) -> list[Any]:
    return [
        [case.block, case.tempo, case.cutoff_blocks, case.last_step, _optional(case.owner_uid)],
        [_u64(case.last_update), _u64(case.registration), case.permit.astype("u1").tobytes()],
        [_u64(case.alpha_stake), _u64(case.tao_stake)],
        _rows_value(case.weights),
        _rows_value(case.bonds),
        [int(value) for value in astuple(case.parameters)],
        b"" if case.commit_block is None else _u64(case.commit_block),
    ]


def _input(f: list[Any]) -> EpochInput:
    block, tempo, cutoff, last_step, owner = f[0]
    numbers = dict(zip((field.name for field in fields(EpochParameters)), f[5], strict=True))
    switches = {name: bool(numbers[name]) for name in ("yuma3", "liquid_alpha")}
    return EpochInput(
        block=block,
        tempo=tempo,
        cutoff_blocks=cutoff,
        last_step=last_step,
        owner_uid=owner[0] if owner else None,
        emission=0,
        last_update=_from_u64(f[1][0]),
        registration=_from_u64(f[1][1]),
        permit=np.frombuffer(f[1][2], dtype="u1").astype(np.bool_),
        alpha_stake=_from_u64(f[2][0]),
        tao_stake=_from_u64(f[2][1]),
        weights=_rows(f[3]),
        bonds=_rows(f[4]),
        parameters=EpochParameters(**{**numbers, **switches}),
        commit_block=_from_u64(f[6]) if f[6] else None,
    )


def _optional(value: int | None) -> list[int]:
    return [] if value is None else [int(value)]


def _u64(array: NDArray[np.uint64]) -> bytes:
    return array.astype("<u8").tobytes()


def _from_u64(data: bytes) -> NDArray[np.uint64]:
    return np.frombuffer(data, dtype="<u8").astype(np.uint64)


def _rows_value(rows: SparseRows) -> list[bytes]:
    return [rows.start.astype("<u4").tobytes(), rows.uid.astype("<u2").tobytes(), rows.value.astype("<u2").tobytes()]


def _rows(f: list[bytes]) -> SparseRows:
    start = np.frombuffer(f[0], dtype="<u4").astype(np.int64)
    uid, value = (np.frombuffer(part, dtype="<u2").astype(np.uint16) for part in f[1:])
    return pack_rows(start, uid, value)


# --- payout -----------------------------------------------------------------------------------------------------------


def _relations_value(relations: Mapping[AccountId, Sequence[Relation]]) -> list[Any]:
    return [[key, [[r.proportion, r.hotkey] for r in edges]] for key, edges in sorted(relations.items())]


def _relations(value: list[Any]) -> dict[AccountId, list[Relation]]:
    return {AccountId(key): [Relation(part, AccountId(other)) for part, other in edges] for key, edges in value}


def _growth_value(growth: Growth) -> list[Any]:
    return [
        growth.hotkey,
        [growth.pool.value, *_float_value(growth.pool.denominator)],
        growth.amount,
        [[coldkey, *_float_value(share)] for coldkey, share in growth.holders],
    ]


def _growth(f: list[Any]) -> Growth:
    value, mantissa, exponent = f[1]
    holders = tuple((AccountId(key), SafeFloat(_from_wide(m), e)) for key, m, e in f[3])
    return Growth(AccountId(f[0]), SharePool(Alpha(value), SafeFloat(_from_wide(mantissa), exponent)), f[2], holders)


def _float_value(number: SafeFloat) -> tuple[bytes, int]:
    return _wide(number.mantissa), number.exponent


def _wide(number: int) -> bytes:
    return number.to_bytes(16, "little")


def _from_wide(data: bytes) -> int:
    return int.from_bytes(data, "little")
