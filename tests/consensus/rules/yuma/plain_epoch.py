"""The Yuma epoch in plain Python, as literal as YUMA section 3 allows: the oracle for the array version.

Every value is a Python int, every row a list of (uid, value) pairs; the median is the narrowing search and the liquid
cursor walks. Nothing here is shared with the code under test except its input type.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from yumad.consensus.rules.v1.yuma.inputs import EpochInput

ONE = 1 << 32
MAX, MIN = (1 << 63) - 1, -(1 << 63)
Row = list[tuple[int, int]]
Rows = list[Row]


def clamp(raw: int) -> int:
    return max(min(raw, MAX), MIN)


def trunc(numerator: int, divisor: int) -> int:
    quotient = abs(numerator) // abs(divisor)
    return quotient if (numerator < 0) == (divisor < 0) else -quotient


def mul(a: int, b: int) -> int:
    return clamp((a * b) >> 32)


def div0(a: int, b: int) -> int:
    if b == 0:
        return 0
    quotient = trunc(a << 32, b)
    return quotient if MIN <= quotient <= MAX else 0


def sdiv(a: int, b: int) -> int:
    return clamp(trunc(a << 32, b))


def frac16(parts: int) -> int:
    return div0(parts << 32, 65535 << 32)


def prop16(value: int) -> int:
    return max(min(mul(value, 65535 << 32) >> 32, 65535), 0)


def norm(values: Sequence[int]) -> list[int]:
    total = sum(values)
    return list(values) if total == 0 else [div0(value, total) for value in values]


def exponential(x: int) -> int:
    x = max(min(x, 20 << 32), -(20 << 32))
    if x == 0:
        return ONE
    if x == ONE:
        return 11674931200
    negative, x = x < 0, abs(x)
    result, term = x + ONE, x
    for i in range(2, 32):
        term = mul(term, x)
        term = sdiv(term, i << 32)
        result += term
    return trunc(ONE << 32, result) if negative else result


def narrowing_median(stake: Sequence[int], scores: Sequence[int], minority: int) -> int:
    """WMEDIAN of YUMA 3.6, the narrowing search itself."""
    members = list(range(len(scores)))
    low, high = 0, sum(stake)
    for _ in range(len(scores) + 1):
        if not members:
            return 0
        if len(members) == 1:
            return scores[members[0]]
        pivot = scores[members[len(members) // 2]]
        below = [k for k in members if scores[k] < pivot]
        above = [k for k in members if scores[k] > pivot]
        stake_below, stake_above = sum(stake[k] for k in below), sum(stake[k] for k in above)
        if below and minority < low + stake_below:
            members, high = below, low + stake_below
        elif above and high - stake_above <= minority:
            members, low = above, high - stake_above
        else:
            return pivot
    return 0


def cursor(row: Row, count: int) -> list[int]:
    """The row as the forward-only cursor of YUMA 3.11 reads it for uid 0, 1, ..."""
    seen, p = [], 0
    for j in range(count):
        while p < len(row) and row[p][0] < j:
            p += 1
        seen.append(row[p][1] if p < len(row) and row[p][0] == j else 0)
    return seen


def dense(row: Row, count: int) -> list[int]:
    values = [0] * count
    for uid, value in row:
        values[uid] = value
    return values


def ascending(values: Sequence[int]) -> Row:
    """The entries > 0 of a dense row."""
    return [(uid, value) for uid, value in enumerate(values) if value > 0]


def column_shares(rows: Rows, count: int) -> Rows:
    sums = [0] * count
    for row in rows:
        for uid, value in row:
            sums[uid] += value
    return [[(uid, div0(value, sums[uid]) if sums[uid] else value) for uid, value in row] for row in rows]


def moving_average(new: Row, old: Row, share: int, count: int) -> Row:
    accumulated = [0] * count
    for uid, value in new:
        accumulated[uid] += mul(share, value)
    for uid, value in old:
        accumulated[uid] += mul(ONE - share, value)
    return ascending(accumulated)


@dataclass
class PlainResult:
    """Everything an epoch returns, as lists named as in the vector files."""

    out: dict[str, Any]
    raw: dict[str, Any]


def plain_epoch(case: EpochInput) -> PlainResult:
    p, n, owner = case.parameters, case.count, case.owner_uid
    last_update, reg = case.last_update.tolist(), case.registration.tolist()

    # 3.1, 3.2
    active = [last_update[i] + case.cutoff_blocks >= case.block for i in range(n)]
    weight = (p.tao_weight << 32) // ((1 << 64) - 1) << 32
    alphas, taos = case.alpha_stake.tolist(), case.tao_stake.tolist()
    pairs_of_stake = zip(alphas, taos, strict=True)
    total = [min((alpha << 64) + tao * weight, (1 << 127) - 1) for alpha, tao in pairs_of_stake]
    kept = [t if i == owner or t >> 64 >= p.stake_threshold else 0 for i, t in enumerate(total)]
    all_stake = sum(kept)
    stake = [((t << 64) // all_stake if all_stake else t) >> 32 for t in kept]

    # 3.3, 3.4
    permits = [bool(x) or i == owner for i, x in enumerate(case.permit.tolist())]
    new_permits = [s != 0 for s in stake]
    if n >= p.max_allowed_validators:
        for i in sorted(range(n), key=lambda i: stake[i])[: n - p.max_allowed_validators]:
            new_permits[i] = False
    if owner is not None:
        new_permits[owner] = True
    voting = norm([s if active[i] and permits[i] else 0 for i, s in enumerate(stake)])

    # 3.5
    shields = None if case.commit_block is None else case.commit_block.tolist()
    weights: Rows = []
    for i, stored in enumerate(case.weights.to_lists()):
        row = [(j, w) for j, w in stored if permits[i] and j < n and (i != j or i == owner) and last_update[i] > reg[j]]
        if shields is not None:
            row = [(j, w) for j, w in row if shields[i] >= reg[j]]
        row_sum = sum(w for _, w in row)
        weights.append([(j, div0(w << 32, row_sum << 32)) for j, w in row] if row_sum > 0 else row)

    # 3.6
    voters = [i for i in range(n) if voting[i] > 0]
    shares = norm([voting[i] for i in voters])
    minority = sum(shares) - frac16(p.kappa)
    matrix = [dense(weights[i], n) for i in voters]
    consensus = [narrowing_median(shares, [row[j] for row in matrix], minority) for j in range(n)]

    # 3.7 - 3.9
    clipped: Rows = [
        [(j, min(w, consensus[j])) for j, w in row if w <= consensus[j] or consensus[j] > 0] for row in weights
    ]
    trust = [sum(w for _, w in row) for row in clipped]
    rank = [0] * n
    for i, row in enumerate(clipped):
        for j, w in row:
            rank[j] += mul(voting[i], w)
    incentive = norm(rank)

    # 3.10
    penalty = frac16(p.bonds_penalty)
    if penalty == 0:
        bond_weights = weights
    elif penalty == ONE:
        bond_weights = clipped
    else:
        pairs = [(dense(w, n), dense(c, n)) for w, c in zip(weights, clipped, strict=True)]
        bond_weights = [ascending([w + mul(penalty, c - w) for w, c in zip(ws, cs, strict=True)]) for ws, cs in pairs]

    # 3.11
    since = case.last_step + 1 if case.last_step else max(case.block - case.tempo, 0)
    old_units = [[(j, b) for j, b in row if j < n and reg[j] < since] for row in case.bonds.to_lists()]
    share = ONE - ((p.bonds_moving_average << 64) // 10**6 >> 32)
    if not p.yuma3:
        old = column_shares([[(j, b << 32) for j, b in row] for row in old_units], n)
        new = column_shares([[(j, mul(w, voting[i])) for j, w in row] for i, row in enumerate(bond_weights)], n)
        bonds = column_shares([moving_average(new[i], old[i], share, n) for i in range(n)], n)
        dividends = norm([sum(mul(incentive[j], b) for j, b in row) for row in bonds])
        largest = [max([dense(row, n)[j] for row in bonds]) for j in range(n)]
        bonds = [[(j, div0(b, largest[j]) if largest[j] else b) for j, b in row] for row in bonds]
    else:
        old = [[(j, frac16(b)) for j, b in row] for row in old_units]
        if p.liquid_alpha and any(consensus):
            bonds = [_liquid_row(bond_weights[i], old[i], consensus, case) for i in range(n)]
        else:
            bonds = [moving_average(bond_weights[i], old[i], share, n) for i in range(n)]
        held = [sum(mul(b, incentive[j]) for j, b in row) for row in column_shares(bonds, n)]
        dividends = norm([mul(held[i], voting[i]) for i in range(n)])

    # 3.12
    combined = [a + b for a, b in zip(incentive, dividends, strict=True)]
    earned = sum(combined)
    if earned == 0:
        fallback = voting if sum(voting) else stake
        server, validator, both = incentive, fallback, fallback
    else:
        server, validator = [div0(x, earned) for x in incentive], [div0(x, earned) for x in dividends]
        both = norm(combined)

    # 3.13
    out = {
        "active": active,
        "stake_weight": [prop16(x) for x in stake],
        "consensus": [prop16(x) for x in consensus],
        "incentive": [prop16(x) for x in incentive],
        "dividends": [prop16(x) for x in dividends],
        "validator_trust": [prop16(x) for x in trust],
        "validator_permit": new_permits,
        "emission": [x * case.emission >> 32 for x in both],
        "server_emission": [x * case.emission >> 32 for x in server],
        "validator_emission": [x * case.emission >> 32 for x in validator],
        "stake": [t >> 64 for t in total],
        "bonds": [[[j, prop16(b)] for j, b in row] if new_permits[i] else [] for i, row in enumerate(bonds)],
    }
    raw = {
        "total_stake": total,
        "stake": stake,
        "active_stake": voting,
        "consensus": consensus,
        "validator_trust": trust,
        "incentive": incentive,
        "dividends": dividends,
        "server_emission_norm": server,
        "validator_emission_norm": validator,
        "combined_emission_norm": both,
        "weights": _pairs(weights),
        "clipped_weights": _pairs(clipped),
        "weights_for_bonds": _pairs(bond_weights),
        "ema_bonds": _pairs(bonds),
    }
    return PlainResult(out, raw)


def _pairs(rows: Rows) -> list[list[list[int]]]:
    return [[list(pair) for pair in row] for row in rows]


def _liquid_row(weights: Row, old: Row, consensus: Sequence[int], case: EpochInput) -> Row:
    """The liquid update of one row."""
    p, n = case.parameters, case.count
    low, high, steepness = frac16(p.alpha_low), frac16(p.alpha_high), p.alpha_sigmoid_steepness << 32
    rates = []
    for c, w, b in zip(consensus, cursor(weights, n), cursor(old, n), strict=True):
        buy, sell = max(min(w - c, ONE), 0), max(min(b - w, ONE), 0)
        distance = buy if w >= b else sell
        e = exponential(mul(sdiv(steepness, -100 << 32), distance - ONE // 2))
        alpha = low + mul(sdiv(ONE, ONE + e), high - low)
        rates.append(max(min(alpha, high), low))
    decay = [0] * n
    for j, b in old:
        decay[j] = mul(ONE - rates[j], b)
    updated = [(j, min(decay[j] + max(mul(rates[j], w), 0), ONE)) for j, w in weights]
    return [(j, x) for j, x in updated if x > 0]
