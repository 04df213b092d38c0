#!/usr/bin/env python3
"""Generate a network of the real one's size as a chain spec: subnets, neurons, drifted pools, weights and root stake.

    scripts/make_network.py FILE [--subnets 128] [--neurons 30000] [--seed 1] [--all-buy] [--json]

Everything follows from the seed. Shapes: validators a subnet median 11, at most 64; tempo 360; every pool's weights
have drifted, so that swaps take the power's series branch. Every other validator holds root stake and validates on
several subnets, so that root dividends accrue and the automatic claims sell alpha. Without --all-buy about three
subnets are old enough for the chain to buy alpha in each block; with it all are. Validators, 64 holders and the usual
development accounts can sign; development authority 1 decides alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from random import Random

from swarm_run import enter_environment

enter_environment("make_network")

from lone_authority import with_authority  # noqa: E402
from yumad.consensus.chain_spec import (  # noqa: E402
    ChainSpec,
    NeuronSpec,
    SubnetSpec,
    WeightsSpec,
    encode_chain_spec,
    genesis_hash_of_bytes,
)
from yumad.consensus.chain_spec_fields import kinds_of  # noqa: E402
from yumad.consensus.chain_spec_parameters import ChainParameters  # noqa: E402
from yumad.consensus.chain_spec_toml import RULES_VERSION, first_moving_price, pack_u16  # noqa: E402
from yumad.consensus.dev_accounts import dev_keypair  # noqa: E402
from yumad.consensus.profiles import DEV, TAO  # noqa: E402
from yumad.consensus.types import AccountId, Micros, Netuid, Rao  # noqa: E402
from yumad.daemon.swarm_spec import DEV_NAMES  # noqa: E402

HOLDERS = 64
"""Funded accounts that trade; as many root validators."""

ROOT_TAO = 6_000_000 * TAO
TEMPO = 360
MOST_VALIDATORS = 64
TAO_WEIGHT = 3_320_413_933_267_719_290
"""0.18, as the real network has it."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How large the network is, and how old its subnets are."""

    subnets: int = 128
    neurons: int = 30_000
    seed: int = 1
    all_buy: bool = False


def account(name: str) -> AccountId:
    """An account without a key: faster to make than one that can sign."""
    return AccountId(blake2b(name.encode(), digest_size=32).digest())


def signer(name: str) -> AccountId:
    """The account of a development key."""
    return AccountId(dev_keypair(name).public_key)


def validator_name(netuid: int, uid: int) -> str:
    """Development name of a validator's hotkey: its own, or that of a root validator."""
    return root_name(_root_number(netuid, uid)) if uid % 2 else f"net/{netuid}/{uid}"


def root_name(number: int) -> str:
    """Development name of a root validator's hotkey; the holder of the same number owns it."""
    return f"net/root/{number}"


def _root_number(netuid: int, uid: int) -> int:
    """Which root validator sits there: another one for each odd uid, spread over the subnets."""
    return (netuid * 23 + uid // 2) % HOLDERS


def holder_name(number: int) -> str:
    """Development name of a funded account."""
    return f"net/holder/{number}"


def network_spec(shape: Shape) -> ChainSpec:
    """The spec; without authorities, which a swarm or `with_authority` adds."""
    rng = Random(shape.seed)
    sizes = _sizes(shape)
    subnets = tuple(_subnet(rng, shape, netuid, size) for netuid, size in enumerate(sizes, 1))
    holders = [signer(holder_name(number)) for number in range(HOLDERS)]
    funded = [*holders, *map(signer, DEV_NAMES)]
    parts = [rng.randrange(1, 100) for _ in range(HOLDERS)]
    stakes = [
        (signer(root_name(number)), holders[number], Rao(ROOT_TAO * part // sum(parts)))
        for number, part in enumerate(parts)
    ]
    return ChainSpec(
        **{name: getattr(DEV.chain, name) for name in kinds_of(ChainParameters)},
        name="generated",
        profile="dev",
        genesis_time=Micros(1),
        salt=shape.seed.to_bytes(8, "big"),
        rules_version=RULES_VERSION,
        fees=DEV.fees,
        parameters=replace(DEV.parameters, tao_weight=TAO_WEIGHT, subnet_moving_alpha=12_885),
        admin_keys=(),
        admin_threshold=0,
        recovery_keys=(),
        recovery_threshold=0,
        dev_names=DEV_NAMES,
        balances=tuple(sorted((holder, Rao(2_000 * TAO)) for holder in funded)),
        stakes=tuple(sorted(stakes)),
        authorities=(),
        subnets=subnets,
    )


def _sizes(shape: Shape) -> list[int]:
    """Neurons of each subnet: half of the subnets are full where the number allows, the others share the rest."""
    full = shape.subnets // 2 if shape.neurons >= shape.subnets * 128 + shape.subnets else 0
    base, more = divmod(shape.neurons - full * 256, shape.subnets - full)
    return [256] * full + [min(base + (number < more), 256) for number in range(shape.subnets - full)]


def _subnet(rng: Random, shape: Shape, netuid: int, size: int) -> SubnetSpec:
    validators = min(max(int(rng.lognormvariate(2.4, 0.6)), 3), MOST_VALIDATORS, size)
    names = [validator_name(netuid, uid) for uid in range(validators)]
    keys = [signer(name) for name in names] + [account(f"{netuid}/{uid}") for uid in range(validators, size)]
    holders = [_root_number(netuid, uid) if uid % 2 else rng.randrange(HOLDERS) for uid in range(validators)]
    owners = [signer(holder_name(number)) for number in holders]
    owners += [account(f"{netuid}/{uid}/cold") for uid in range(validators, size)]
    old = shape.all_buy or netuid <= 3
    if shape.all_buy:
        outstanding = rng.randrange(1_500_000, 3_000_000)
    else:
        outstanding = rng.randrange(6_000_000, 9_000_000) if old else rng.randrange(100_000, 300_000)
    parts = [rng.randrange(100, 1000) for _ in range(validators)]
    alpha_stakes = [outstanding * TAO * 9 // 10 * part // sum(parts) for part in parts]
    alpha_stakes += [rng.randrange(0, 20) * TAO for _ in range(validators, size)]
    # Fewer subnets have higher prices, so that the sum, at which root sells, and what buys are the same at every size.
    price = (rng.uniform(0.5, 2.5) if shape.all_buy else rng.uniform(4.0, 8.0)) / shape.subnets
    tao = rng.randrange(4_000, 20_000) * TAO + rng.randrange(TAO)
    weight = 5 * 10**17 + rng.randrange(-(10**15), 10**15)
    alpha = int(tao / price)
    return SubnetSpec(
        netuid=Netuid(netuid),
        owner_hotkey=keys[0],
        owner_coldkey=owners[0],
        tao_reserve=Rao(tao),
        alpha_reserve=Rao(alpha),
        quote_weight=weight,
        moving_price=first_moving_price(tao, alpha, weight),
        started=True,
        hyperparameters=replace(
            DEV.hyperparameters,
            tempo=TEMPO,
            weights_set_rate_limit=1,
            immunity_period=5000,
            ema_price_halving_blocks=201_600,
            yuma3_on=netuid % 4 != 0,
            liquid_alpha_on=netuid % 8 == 1,
        ),
        neurons=tuple(
            NeuronSpec(key, cold, Rao(stake), 0, 1, uid < validators)
            for uid, (key, cold, stake) in enumerate(zip(keys, owners, alpha_stakes, strict=True))
        ),
        weights=tuple(_weights(rng, uid, validators, size) for uid in range(validators)),
    )


def _weights(rng: Random, uid: int, validators: int, size: int) -> WeightsSpec:
    """A row on most miners, in an order of the validator's own."""
    miners = list(range(validators, size))
    rng.shuffle(miners)
    targets = miners[: max(1, len(miners) * rng.randrange(6, 11) // 10)] or [0]
    values = [rng.randrange(1, 65_536) for _ in targets]
    return WeightsSpec(0, uid, pack_u16(targets, what="uids"), pack_u16(values, what="values"))


def validators_of(spec: ChainSpec) -> list[tuple[int, int, list[int]]]:
    """(netuid, uid, targets) of every validator that can sign."""
    import numpy as np

    return [
        (subnet.netuid, row.uid, np.frombuffer(row.uids, dtype="<u2").tolist())
        for subnet in spec.subnets
        for row in subnet.weights
    ]


def main() -> None:
    """Write the spec and say what is in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--subnets", type=int, default=128)
    parser.add_argument("--neurons", type=int, default=30_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--all-buy", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not 1 <= options.subnets <= 128 or not options.subnets <= options.neurons <= options.subnets * 256:
        parser.error("give 1 to 128 subnets and up to 256 neurons for each")
    spec, _ = with_authority(network_spec(Shape(options.subnets, options.neurons, options.seed, options.all_buy)))
    data = encode_chain_spec(spec)
    options.file.write_bytes(data)
    validators = sorted(len(subnet.weights) for subnet in spec.subnets)
    report = {
        "file": str(options.file),
        "bytes": len(data),
        "genesis_hash": genesis_hash_of_bytes(data).hex(),
        "subnets": len(spec.subnets),
        "neurons": sum(len(subnet.neurons) for subnet in spec.subnets),
        "validators_median": validators[len(validators) // 2],
        "validators_most": validators[-1],
        "issuance": str(spec.issuance),
    }
    if options.json:
        print(json.dumps(report))
    else:
        for name, value in report.items():
            print(f"{name:26} {value}")


if __name__ == "__main__":
    sys.exit(main())
