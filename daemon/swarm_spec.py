"""The chain a dev swarm starts from: funded accounts and one working subnet whose keys are derived from names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..consensus.chain_spec import ChainSpec
from ..consensus.chain_spec_toml import load_chain_spec_toml

STAKES: Final = (3000 * 10**9, 2000 * 10**9, 1000 * 10**9)
"""Alpha of the validators, uid by uid."""

VALIDATORS: Final = 3
MINERS: Final = 5
PLAYED_VALIDATORS: Final = 2
DEV_NAMES: Final = ("alice", "bob", "charlie", "dave", "eve", "ferdie")
DEV_FUNDS: Final = 1_000_000 * 10**9
SUBNET: Final = 1


def swarm_spec(profile: str, name: str, salt: bytes, slot_length: int | None) -> ChainSpec:
    """A spec without authorities: `DEV_NAMES` funded and subnet 1 with three validators that weigh five miners."""
    targets = list(range(VALIDATORS, VALIDATORS + MINERS))
    rows = [
        f"{{uid = {uid}, uids = {targets}, values = {[65535 - 9000 * ((at + uid) % MINERS) for at in range(MINERS)]}}}"
        for uid in range(VALIDATORS)
    ]
    return _spec(profile, name, salt, slot_length, STAKES[:VALIDATORS], MINERS, rows, "")


def played_spec(profile: str, name: str, salt: bytes, slot_length: int | None, miners: int) -> ChainSpec:
    """The same with two validators and no weights: plugins play the subnet, by commit and reveal."""
    hyperparameters = "hyperparameters = {commit_reveal_weights_enabled = true, reveal_period_epochs = 1}"
    return _spec(profile, name, salt, slot_length, STAKES[:PLAYED_VALIDATORS], miners, [], hyperparameters)


def _spec(
    profile: str,
    name: str,
    salt: bytes,
    slot_length: int | None,
    stakes: Sequence[int],
    miners: int,
    rows: Sequence[str],
    hyperparameters: str,
) -> ChainSpec:
    neurons = [
        f'{{hotkey = "dev:sn{SUBNET}/{uid}", coldkey = "dev:sn{SUBNET}/{uid}", '
        f"stake = {stake}, permit = {str(uid < len(stakes)).lower()}, registration_block = 0, last_update = 1}}"
        for uid, stake in enumerate([*stakes, *[0] * miners])
    ]
    text = f"""
name = "{name}"
profile = "{profile}"
genesis_time = 1
salt = "{salt.hex()}"

[chain]
{"" if slot_length is None else f"slot_length = {slot_length}"}

[dev]
names = {[str(dev) for dev in DEV_NAMES]}
funds = {DEV_FUNDS}

[[subnets]]
netuid = {SUBNET}
owner_hotkey = "dev:sn{SUBNET}/0"
owner_coldkey = "dev:sn{SUBNET}/0"
{hyperparameters}
neurons = [{", ".join(neurons)}]
weights = [{", ".join(rows)}]
"""
    return load_chain_spec_toml(text, check=False)
