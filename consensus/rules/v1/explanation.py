"""Why a neuron was paid what it was paid: one epoch's record, run again and taken apart (`yumad explain`).

Nothing recorded is believed: the epoch is run again on its recorded input, and every sum is checked to the unit. What
was drained for the epoch is accounted for completely: paid, burned, recycled, or lost to rounding, which stays in the
subnet's outstanding alpha and belongs to nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from ...types import AccountId, InvalidError, YumadError
from .dtao.distribution import UNKNOWN, split_among_parents
from .epoch_record import EpochRecord
from .payout import Payment, PaymentKind
from .yuma.epoch import run_epoch
from .yuma.mechanisms import split_emission
from .yuma.outputs import EpochOutput, EpochTrace
from .yuma.sparse_rows import SparseRows

ROUNDING_BITS: Final = 24
"""Shares of 256 uids are each floored to 2^-32: together that is less than one part in 2^24."""

_OF_SERVERS: Final = (PaymentKind.INCENTIVE, PaymentKind.WITHHELD_BURNED, PaymentKind.WITHHELD_RECYCLED)
_OF_VALIDATORS: Final = (PaymentKind.TAKE, PaymentKind.NOMINATORS)
_OF_ROOT: Final = (PaymentKind.ROOT_TAKE, PaymentKind.ROOT_CLAIMABLE, PaymentKind.ROOT_TO_OWNER)


class UnexplainedError(YumadError):
    """A record whose amounts do not add up: it was not made by these rules, or is damaged."""

    code = "unexplained"


@dataclass(frozen=True, slots=True)
class Rerun:
    """A record with its epochs run again."""

    record: EpochRecord
    shares: tuple[int, ...]
    """Emission of each mechanism."""
    outputs: tuple[EpochOutput, ...]
    """With their intermediates."""


def rerun(record: EpochRecord) -> Rerun:
    """Run the record's epochs again. Raises UnexplainedError when they give something else than was paid."""
    pending = record.payout.pending
    total = pending.server + pending.validator + pending.root
    shares = split_emission(total, len(record.inputs), record.split) if record.inputs else []
    pairs = zip(record.inputs, shares, strict=True)
    outputs = tuple(run_epoch(replace(case, emission=share), trace=True) for case, share in pairs)
    for uid, emission in enumerate(record.payout.emissions):
        server = sum(int(output.server_emission[uid]) for output in outputs)
        validator = sum(int(output.validator_emission[uid]) for output in outputs)
        if (server, validator) != (emission.incentive, emission.dividend):
            raise UnexplainedError(
                f"uid {uid} earned {emission.incentive} and {emission.dividend}, the epoch run again gives {server} and"
                f" {validator}"
            )
    return Rerun(record, tuple(shares), outputs)


def explain_neuron(run: Rerun, uid: int) -> dict[str, Any]:
    """The path of one neuron's payout, in plain values; shares are raw Q32 (of 2^32).

    Raises InvalidError for a uid the subnet did not have, UnexplainedError when a sum is off.
    """
    record, payout = run.record, run.record.payout
    if not 0 <= uid < len(payout.emissions):
        raise InvalidError(
            f"subnet {record.netuid} had {len(payout.emissions)} neurons at height {record.height}, uid {uid} is none"
        )
    hotkey = payout.emissions[uid].hotkey
    payments = [payment for payment in payout.payments if payment.earner == hotkey]
    return {
        "netuid": record.netuid,
        "height": record.height,
        "uid": uid,
        "hotkey": bytes(hotkey),
        "coldkey": bytes(payout.holders.get(hotkey, UNKNOWN).coldkey),
        "stake": _stake(run, uid, hotkey),
        "mechanisms": [_mechanism(run, number, uid) for number in range(len(run.outputs))],
        "dividend_pieces": _dividend_pieces(run, hotkey),
        "payments": [_payment(run, payment) for payment in payments],
        "coldkeys": _by_coldkey(run, payments),
        "earned": sum(payment.amount for payment in payments),
        "subnet": explain_subnet(run),
    }


def explain_subnet(run: Rerun) -> dict[str, Any]:
    """Where everything went that was drained for the epoch, to the unit. Raises UnexplainedError.

    A pot may be exceeded by a trace: where validators' shares lost more to rounding than miners', the latter's are more
    than half of the total (DTAO 13.7).
    """
    payout = run.record.payout
    pending = payout.pending
    paid: dict[PaymentKind, int] = {}
    for payment in payout.payments:
        paid[payment.kind] = paid.get(payment.kind, 0) + payment.amount
    incentives = sum(emission.incentive for emission in payout.emissions)
    miners_part = pending.server if incentives else 0
    pots = {
        "miners": (miners_part, _paid(paid, _OF_SERVERS)),
        "validators": (int(payout.validator_pot), _paid(paid, _OF_VALIDATORS)),
        "root": (int(pending.root), _paid(paid, _OF_ROOT)),
        "owner": (int(pending.owner_cut), _paid(paid, (PaymentKind.OWNER_CUT,))),
    }
    drained = pending.server + pending.validator + pending.root + pending.owner_cut
    # Without any incentive the miners' part is in the validators' pot already, so that the pots are all there was.
    if sum(pot for pot, _ in pots.values()) != drained:
        raise UnexplainedError(f"the pots hold {sum(pot for pot, _ in pots.values())}, {drained} was drained")
    for name, (pot, spent) in pots.items():
        if spent - pot > pot >> ROUNDING_BITS:
            raise UnexplainedError(f"{spent} was paid out of a pot of {pot} for {name}")
    burned = paid.get(PaymentKind.WITHHELD_BURNED, 0)
    recycled = paid.get(PaymentKind.WITHHELD_RECYCLED, 0)
    held = sum(spent for _, spent in pots.values()) - burned - recycled
    lost = {name: pot - spent for name, (pot, spent) in pots.items()}
    if held + burned + recycled + sum(lost.values()) != drained:
        raise UnexplainedError(f"{held} paid, {burned} burned, {recycled} recycled and {lost} are not {drained}")
    return {
        "drained": drained,
        "epoch_total": pending.server + pending.validator + pending.root,
        "pots": {name: {"pot": pot, "paid": spent, "left": pot - spent} for name, (pot, spent) in pots.items()},
        "paid": held,
        "burned": burned,
        "recycled": recycled,
        "left_over": sum(lost.values()),
        "childkey_recycled": int(payout.distribution.recycled),
        "owner_cut": int(pending.owner_cut),
    }


def _paid(paid: Mapping[PaymentKind, int], kinds: tuple[PaymentKind, ...]) -> int:
    return sum(paid.get(kind, 0) for kind in kinds)


def _stake(run: Rerun, uid: int, hotkey: AccountId) -> dict[str, Any]:
    payout, case = run.record.payout, run.record.inputs[0]
    holder, trace = payout.holders.get(hotkey, UNKNOWN), _trace(run.outputs[0])
    return {
        "own_alpha": holder.alpha,
        "own_root": holder.root_tao,
        "children": [[bytes(edge.hotkey), edge.proportion] for edge in payout.children.get(hotkey, ())],
        "parents": [[bytes(edge.hotkey), edge.proportion] for edge in payout.parents.get(hotkey, ())],
        "alpha": int(case.alpha_stake[uid]),
        "root": int(case.tao_stake[uid]),
        "total": int(run.outputs[0].stake[uid]),
        "share": int(trace.stake[uid]),
        "permit": bool(case.permit[uid]) or uid == case.owner_uid,
        "next_permit": any(bool(output.validator_permit[uid]) for output in run.outputs),
        "is_owner": uid == case.owner_uid,
    }


def _mechanism(run: Rerun, number: int, uid: int) -> dict[str, Any]:
    """One mechanism's numbers of a uid: what it was judged and how it judged."""
    output, case = run.outputs[number], run.record.inputs[number]
    trace = _trace(output)
    active_stake = trace.active_stake.tolist()
    before, after = _column(trace.weights, uid), _column(trace.clipped_weights, uid)
    received = [
        {
            "uid": voter,
            "hotkey": bytes(run.record.payout.emissions[voter].hotkey),
            "stake": active_stake[voter],
            "weight": weight,
            "clipped": after.get(voter, 0),
            "rank": active_stake[voter] * after.get(voter, 0) >> 32,
        }
        for voter, weight in sorted(before.items())
    ]
    bonds = _row(trace.ema_bonds, uid)
    return {
        "mechanism": number,
        "emission": run.shares[number],
        "active": bool(output.active[uid]),
        "last_update": int(case.last_update[uid]),
        "active_stake": active_stake[uid],
        "received": received,
        "consensus": int(trace.consensus[uid]),
        "rank": sum(entry["rank"] for entry in received),
        "incentive": int(trace.incentive[uid]),
        "validator_trust": int(trace.validator_trust[uid]),
        "weights": [
            {"uid": target, "weight": weight, "clipped": dict(_row(trace.clipped_weights, uid)).get(target, 0)}
            for target, weight in _row(trace.weights, uid)
        ],
        "bonds": [{"uid": target, "bond": bond, "incentive": int(trace.incentive[target])} for target, bond in bonds],
        "dividends": int(trace.dividends[uid]),
        "server_share": int(trace.server_emission_norm[uid]),
        "validator_share": int(trace.validator_emission_norm[uid]),
        "server": int(output.server_emission[uid]),
        "validator": int(output.validator_emission[uid]),
    }


def _dividend_pieces(run: Rerun, hotkey: AccountId) -> dict[str, Any]:
    """What of the epoch's dividends counts for a hotkey, and what that is worth of the two pots (DTAO 4.2, 4.4)."""
    payout = run.record.payout
    pieces = []
    for emission in payout.emissions:
        shares, _ = split_among_parents(
            emission.hotkey,
            emission.dividend,
            payout.holders,
            payout.parents.get(emission.hotkey, ()),
            payout.children.get(emission.hotkey, ()),
            payout.rules,
        )
        amount = sum(part for receiver, part in shares if receiver == hotkey)
        if amount:
            pieces.append({"from": bytes(emission.hotkey), "amount": amount})
    distribution = payout.distribution
    return {
        "pieces": pieces,
        "total": sum(piece["amount"] for piece in pieces),
        "alpha_dividend": int(distribution.alpha_dividends.get(hotkey, 0)) >> 32,
        "root_dividend": int(distribution.root_dividends.get(hotkey, 0)) >> 32,
    }


def _payment(run: Rerun, payment: Payment) -> dict[str, Any]:
    """One payment with what each coldkey got of it. Raises UnexplainedError if they got more than it."""
    gains = _gains(run, payment)
    given = sum(amount for _, amount in gains)
    if given > payment.amount:
        raise UnexplainedError(f"a payment of {payment.amount} gave {given} to its holders")
    return {
        "kind": payment.kind.value,
        "hotkey": bytes(payment.hotkey),
        "coldkey": bytes(payment.coldkey),
        "amount": payment.amount,
        "holders": [[bytes(coldkey), amount] for coldkey, amount in gains],
        "rounding": payment.amount - given,
    }


def _gains(run: Rerun, payment: Payment) -> list[tuple[AccountId, int]]:
    """(coldkey, amount) of a payment; nobody where it was withheld."""
    if payment.kind in (PaymentKind.WITHHELD_BURNED, PaymentKind.WITHHELD_RECYCLED):
        return []
    if payment.kind is PaymentKind.NOMINATORS:
        return next(growth.gains() for growth in run.record.payout.growths if growth.hotkey == payment.hotkey)
    if payment.kind is PaymentKind.ROOT_CLAIMABLE:
        return next(accrual.gains() for accrual in run.record.payout.accruals if accrual.hotkey == payment.hotkey)
    return [(payment.coldkey, payment.amount)]


def _by_coldkey(run: Rerun, payments: list[Payment]) -> list[dict[str, Any]]:
    """What each coldkey got in total, as stake and as a claim, in coldkey order."""
    totals: dict[AccountId, list[int]] = {}
    for payment in payments:
        for coldkey, amount in _gains(run, payment):
            both = totals.setdefault(coldkey, [0, 0])
            both[payment.kind is PaymentKind.ROOT_CLAIMABLE] += amount
    return [
        {"coldkey": bytes(coldkey), "staked": staked, "claimable": claimable}
        for coldkey, (staked, claimable) in sorted(totals.items())
    ]


def _trace(output: EpochOutput) -> EpochTrace:
    assert output.trace is not None, "rerun asks for it"
    return output.trace


def _row(rows: SparseRows, uid: int) -> list[tuple[int, int]]:
    start, stop = int(rows.start[uid]), int(rows.start[uid + 1])
    return list(zip(rows.uid[start:stop].tolist(), rows.value[start:stop].tolist(), strict=True))


def _column(rows: SparseRows, uid: int) -> dict[int, int]:
    """Voter -> value of the entries on one target."""
    at = (rows.uid == uid).nonzero()[0]
    return dict(zip(rows.row_of_entry()[at].tolist(), rows.value[at].tolist(), strict=True))
