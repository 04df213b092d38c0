#!/usr/bin/env python3
"""Explain every neuron of a generated network after an epoch of each subnet, and check that all of it adds up.

    scripts/explain_all.py [--subnets 128] [--neurons 30000] [--seed 1] [--json]

Blocks with traffic run until every subnet has had an epoch. Each record goes through storage's form and back, as
`yumad explain` reads it. Checked to the unit, for every subnet: the payments of all uids, with those to hotkeys that
hold no uid and the owner's cut, are what the subnet paid; paid, burned, recycled and left over are what was drained;
and for every uid: its payments are what it earned, its coldkeys got its payments less the rounding that is shown.
Exits with 1 and the place where something is off.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from bench_ledger import TEMPO, Chain, Traffic
from make_network import Shape, network_spec
from swarm_run import enter_environment

enter_environment("explain_all")

from yumad.consensus.rules.v1.epoch_record import EpochRecord, decode_record, encode_record  # noqa: E402
from yumad.consensus.rules.v1.explanation import Rerun, explain_neuron, explain_subnet, rerun  # noqa: E402
from yumad.consensus.rules.v1.payout import PaymentKind  # noqa: E402

WITHHELD = ("burned", "recycled")


class OffError(Exception):
    """A sum that is off."""


def records_of(chain: Chain, traffic: Traffic, subnets: int) -> dict[int, EpochRecord]:
    """The first epoch's record of every subnet. Raises OffError when one has none after two tempos."""
    found: dict[int, EpochRecord] = {}
    for _ in range(2 * TEMPO):
        _, outcome = chain.build(traffic.block())
        for epoch in outcome.epochs:
            if isinstance(epoch.record, EpochRecord) and epoch.record.inputs:
                found.setdefault(int(epoch.netuid), decode_record(encode_record(epoch.record)))
        if len(found) == subnets:
            return found
    raise OffError(f"{subnets - len(found)} subnets had no epoch in {2 * TEMPO} blocks")


def check_subnet(run: Rerun) -> dict[str, int]:
    """Explain every uid of a subnet's epoch. Raises OffError, and UnexplainedError from the explanation itself."""
    record, summary = run.record, explain_subnet(run)
    sums = {"uids": len(record.payout.emissions), "by_uids": 0, "to_coldkeys": 0, "rounding": 0}
    hotkeys = [emission.hotkey for emission in record.payout.emissions]
    for uid in range(sums["uids"]):
        told = explain_neuron(run, uid)
        where = f"subnet {record.netuid}, uid {uid}"
        paid = sum(payment["amount"] for payment in told["payments"])
        given = sum(coldkey["staked"] + coldkey["claimable"] for coldkey in told["coldkeys"])
        withheld = sum(p["amount"] for p in told["payments"] if p["kind"].startswith("withheld"))
        rounding = sum(payment["rounding"] for payment in told["payments"])
        if paid != told["earned"] or given + rounding != paid:
            raise OffError(f"{where}: earned {told['earned']}, paid {paid}, to coldkeys {given}, rounding {rounding}")
        sums["by_uids"] += paid - withheld
        sums["to_coldkeys"] += given
        sums["rounding"] += rounding - withheld
    without_uid = [payment for payment in record.payout.payments if payment.earner not in hotkeys]
    owner = sum(payment.amount for payment in without_uid if payment.kind is PaymentKind.OWNER_CUT)
    others = sum(payment.amount for payment in without_uid) - owner
    if sums["by_uids"] + others + owner != summary["paid"]:
        raise OffError(f"subnet {record.netuid}: uids {sums['by_uids']}, others {others}, owner {owner}: not {summary}")
    accounted = summary["paid"] + summary["burned"] + summary["recycled"] + summary["left_over"]
    if accounted != summary["drained"]:
        raise OffError(f"subnet {record.netuid}: {accounted} accounted for, {summary['drained']} drained")
    kept = {name: summary[name] for name in ("drained", "paid", *WITHHELD, "left_over")}
    return {**sums, "to_hotkeys_without_uid": others, "owner_cut": owner, **kept}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subnets", type=int, default=128)
    parser.add_argument("--neurons", type=int, default=30_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    began = time.monotonic()
    chain = Chain(network_spec(Shape(options.subnets, options.neurons, options.seed)))
    totals: dict[str, int] = {"subnets": 0}
    try:
        for record in records_of(chain, Traffic(chain, options.seed), options.subnets).values():
            for name, value in check_subnet(rerun(record)).items():
                totals[name] = totals.get(name, 0) + value
            totals["subnets"] += 1
    except OffError as error:
        print(f"explain_all: {error}", file=sys.stderr)
        return 1
    totals["height"] = chain.height
    if options.json:
        print(json.dumps({**totals, "seconds": round(time.monotonic() - began, 1)}))
        return 0
    for name, value in totals.items():
        print(f"{name:24} {value}")
    print(f"everything adds up, {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
