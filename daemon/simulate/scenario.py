"""Scenario files: what a subnet designer writes down to try an incentive mechanism.

TOML or JSON, two modes with one frame:

    name = "kappa moves first"
    mode = "epochs"                       # or "economy"
    [hyperparameters]                     # of every variant; names of YUMA section 8
    kappa = 32767
    [[variants]]                          # run side by side; without any there is one, as configured
    name = "yuma3"
    hyperparameters = { yuma3_on = true }

`epochs`: neurons with stakes, weights that hold from an epoch on, no market (`EpochScenario`).
`economy`: a whole chain in memory, block by block, with calls (`EconomyScenario`).
Unknown keys are errors with a suggestion, and every error names its place in the file.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import gcd, lcm
from pathlib import Path
from typing import Any, Final

from ...consensus.chain_spec_fields import kinds_of, override, refuse_unknown_keys
from ...consensus.chain_spec_parameters import SubnetHyperparameters
from ...consensus.profiles import FINNEY
from ...consensus.types import U16_MAX, U64_MAX, InvalidError, MalformedError
from .results import ONE

MAX_FILE_BYTES: Final = 16 << 20
MAX_EPOCHS: Final = 10_000
MAX_BLOCKS: Final = 100_000
MAX_NEURONS: Final = 1024

UNITS: Final = 10**9
"""Units of one TAO or alpha."""


class ScenarioError(InvalidError):
    """A scenario that cannot be run; names the place in the file."""

    code = "scenario"
    exit_code = 2


@dataclass(frozen=True, slots=True)
class Variant:
    """One set of rules to run the scenario under."""

    name: str
    hyperparameters: SubnetHyperparameters
    changes: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    """Hyperparameters that change before an epoch."""
    exact: bool = False
    """Weights and Yuma3 bonds not rounded to the chain's u16: to compare with simulators in floating point."""
    keep_permits: bool = False
    """The first epoch's validators keep permit and bonds even without stake: likewise."""
    liquid_rates: tuple[int, int] | None = None
    """Bounds of the liquid rate as raw Q32, finer than `alpha_low` and `alpha_high`: likewise."""


@dataclass(frozen=True, slots=True)
class WeightRow:
    """One validator's weights from an epoch on; explicit zeros stay in the row."""

    epoch: int
    validator: int
    targets: tuple[int, ...]
    shares: tuple[Fraction, ...]
    """In any scale."""
    once: bool = False
    """Submitted at that epoch and not again: it ages, and is masked for targets registered later."""


@dataclass(frozen=True, slots=True)
class EpochScenario:
    """Epochs of one subnet without a market."""

    name: str
    neurons: tuple[str, ...]
    """By uid."""
    stakes: Mapping[int, tuple[int, ...]]
    """Stake of each uid in units of 1e-9, from an epoch on; epoch 0 is there."""
    weights: tuple[WeightRow, ...]
    epochs: int
    emission: int
    """Units each epoch distributes."""
    owner_uid: int | None
    registrations: Mapping[int, tuple[int, ...]]
    """Uids that register anew before an epoch: their bonds and old weights on them are gone."""
    variants: tuple[Variant, ...]


@dataclass(frozen=True, slots=True)
class ScenarioCall:
    """A call in a block of an economy."""

    block: int
    signer: str
    """Development name."""
    call: str
    args: Mapping[str, str]
    """As people write them."""
    place: str
    """Where it stands in the file."""


@dataclass(frozen=True, slots=True)
class EconomyScenario:
    """A chain in memory: its spec as a document, the calls of its blocks."""

    name: str
    spec: Mapping[str, Any]
    blocks: int
    calls: tuple[ScenarioCall, ...]
    variants: tuple[tuple[str, Mapping[str, Any]], ...]
    """(name, hyperparameters that replace those of every subnet)."""


Scenario = EpochScenario | EconomyScenario


def read_scenario(path: Path) -> Scenario:
    """The scenario of a file. Raises ScenarioError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ScenarioError(f"scenario {path} cannot be read: {error.strerror}", remedy="give a file") from None
    if len(data) > MAX_FILE_BYTES:
        raise ScenarioError(f"scenario {path} is larger than {MAX_FILE_BYTES} bytes", remedy="split it")
    try:
        text = data.decode("utf-8")
        document = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise ScenarioError(f"scenario {path} is not {kind}: {error}", remedy="mend the line named") from None
    return scenario_from_document(document)


def scenario_from_document(document: Any) -> Scenario:
    """The scenario that a parsed document describes. Raises ScenarioError."""
    try:
        if not isinstance(document, dict):
            raise ScenarioError("the scenario is no table")
        mode = document.get("mode", "epochs")
        if mode == "epochs":
            return _epoch_scenario(document)
        if mode == "economy":
            return _economy_scenario(document)
        raise ScenarioError(f"mode is {mode!r}", remedy='use "epochs" or "economy"')
    except ScenarioError:
        raise
    except (InvalidError, MalformedError) as error:
        raise ScenarioError(error.message, remedy=error.remedy) from None


# --- epochs -----------------------------------------------------------------------------------------------------------

_EPOCH_KEYS: Final = [
    "name", "mode", "epochs", "emission", "owner", "neurons", "stakes", "weights", "registrations",
    "hyperparameters", "variants",
]  # fmt: skip


def _epoch_scenario(document: Mapping[str, Any]) -> EpochScenario:
    refuse_unknown_keys(document, _EPOCH_KEYS, where="scenario")
    entries = _list(document, "neurons", "scenario")
    if not 1 <= len(entries) <= MAX_NEURONS:
        raise ScenarioError(f"{len(entries)} neurons", remedy=f"give 1 to {MAX_NEURONS}")
    names, first = [], []
    for at, entry in enumerate(entries):
        refuse_unknown_keys(entry, ["name", "stake"], where=f"neurons[{at}]")
        names.append(str(entry.get("name", f"uid {at}")))
        first.append(_amount(entry.get("stake", 0), f"neurons[{at}].stake"))
    if len(dict.fromkeys(names)) < len(names):
        raise ScenarioError("two neurons have the same name", remedy="name each once")
    epochs = _whole(document, "epochs", "scenario", 1, MAX_EPOCHS)
    stakes: dict[int, tuple[int, ...]] = {0: tuple(first)}
    for at, entry in enumerate(_list(document, "stakes", "scenario")):
        where = f"stakes[{at}]"
        refuse_unknown_keys(entry, ["epoch", "neuron", "stake"], where=where)
        epoch = _whole(entry, "epoch", where, 0, MAX_EPOCHS)
        before = list(stakes[max(known for known in stakes if known <= epoch)])
        before[_neuron(entry.get("neuron"), names, where)] = _amount(entry.get("stake"), f"{where}.stake")
        stakes[epoch] = tuple(before)
    owner = document.get("owner")
    base = override(FINNEY.hyperparameters, _base(document), where="hyperparameters")
    return EpochScenario(
        name=str(document.get("name", "scenario")),
        neurons=tuple(names),
        stakes=stakes,
        weights=tuple(_weight_row(entry, names, at) for at, entry in enumerate(_list(document, "weights", "scenario"))),
        epochs=epochs,
        emission=_whole(document, "emission", "scenario", 0, U64_MAX, UNITS),
        owner_uid=None if owner is None else _neuron(owner, names, "owner"),
        registrations=_registrations(document, names),
        variants=tuple(_variants(document, base)),
    )


def _base(document: Mapping[str, Any]) -> Mapping[str, Any]:
    table = document.get("hyperparameters", {})
    if not isinstance(table, dict):
        raise ScenarioError("hyperparameters is no table")
    return {"tempo": 1, "commit_reveal_weights_enabled": False, **table}


def _variants(document: Mapping[str, Any], base: SubnetHyperparameters) -> list[Variant]:
    variants = []
    for at, entry in enumerate(_list(document, "variants", "scenario")):
        where = f"variants[{at}]"
        refuse_unknown_keys(
            entry, ["name", "hyperparameters", "changes", "exact", "keep_permits", "liquid_rates"], where=where
        )
        chosen = override(base, entry.get("hyperparameters", {}), where=f"{where}.hyperparameters")
        changes: dict[int, Mapping[str, Any]] = {}
        for number, change in enumerate(_list(entry, "changes", where)):
            place = f"{where}.changes[{number}]"
            table = {key: value for key, value in change.items() if key != "epoch"}
            refuse_unknown_keys(table, list(kinds_of(SubnetHyperparameters)), where=place)
            changes[_whole(change, "epoch", place, 0, MAX_EPOCHS)] = table
        variants.append(
            Variant(
                str(entry.get("name", f"variant {at + 1}")),
                chosen,
                changes,
                exact=_flag(entry, "exact", where),
                keep_permits=_flag(entry, "keep_permits", where),
                liquid_rates=_rates(entry.get("liquid_rates"), where),
            )
        )
    if len(dict.fromkeys(variant.name for variant in variants)) < len(variants):
        raise ScenarioError("two variants have the same name", remedy="name each once")
    return variants or [Variant("as configured", base)]


def _rates(value: Any, where: str) -> tuple[int, int] | None:
    if value is None:
        return None
    bounds = [_share(bound, f"{where}.liquid_rates") for bound in value] if isinstance(value, list) else []
    if len(bounds) != 2 or not 0 <= bounds[0] <= bounds[1] <= 1:
        raise ScenarioError(f"{where}.liquid_rates is {value!r}", remedy="give two shares: [0.1, 0.3]")
    return int(bounds[0] * ONE), int(bounds[1] * ONE)


def _weight_row(entry: Any, names: list[str], at: int) -> WeightRow:
    where = f"weights[{at}]"
    refuse_unknown_keys(entry, ["epoch", "validator", "on", "once"], where=where)
    on = entry.get("on")
    if not isinstance(on, dict):
        raise ScenarioError(f"{where}.on is {on!r}", remedy='write { "miner" = 0.7, "other miner" = 0.3 }')
    targets = tuple(_neuron(target, names, f"{where}.on") for target in on)
    return WeightRow(
        _whole(entry, "epoch", where, 0, MAX_EPOCHS, 0),
        _neuron(entry.get("validator"), names, where),
        targets,
        tuple(_share(value, f"{where}.on") for value in on.values()),
        _flag(entry, "once", where),
    )


def scaled_to_u16(shares: Sequence[Fraction]) -> tuple[int, ...]:
    """Weights as the chain stores them: the largest becomes 65535, the others in proportion, rounded."""
    largest = max(shares, default=Fraction(0))
    if not largest:
        return tuple(0 for _ in shares)
    return tuple(round(share * U16_MAX / largest) for share in shares)


def proportions(shares: Sequence[Fraction]) -> tuple[int, ...]:
    """The smallest whole numbers in exactly these proportions, or `scaled_to_u16` where they do not fit a u16."""
    scale = lcm(*(share.denominator for share in shares))
    whole = [int(share * scale) for share in shares]
    shrunk = [value // (gcd(*whole) or 1) for value in whole]
    return tuple(shrunk) if max(shrunk, default=0) <= U16_MAX else scaled_to_u16(shares)


def _registrations(document: Mapping[str, Any], names: list[str]) -> dict[int, tuple[int, ...]]:
    found: dict[int, tuple[int, ...]] = {}
    for at, entry in enumerate(_list(document, "registrations", "scenario")):
        where = f"registrations[{at}]"
        refuse_unknown_keys(entry, ["epoch", "neuron"], where=where)
        epoch = _whole(entry, "epoch", where, 0, MAX_EPOCHS)
        found[epoch] = (*found.get(epoch, ()), _neuron(entry.get("neuron"), names, where))
    return found


# --- economy ----------------------------------------------------------------------------------------------------------


def _economy_scenario(document: Mapping[str, Any]) -> EconomyScenario:
    refuse_unknown_keys(document, ["name", "mode", "blocks", "chain", "calls", "variants"], where="scenario")
    chain = document.get("chain")
    if not isinstance(chain, dict):
        raise ScenarioError("an economy needs a [chain] table", remedy="it is a chain spec: subnets, dev, stakes …")
    blocks = _whole(document, "blocks", "scenario", 1, MAX_BLOCKS)
    calls = []
    for at, entry in enumerate(_list(document, "calls", "scenario")):
        where = f"calls[{at}]"
        refuse_unknown_keys(entry, ["block", "signer", "call", "args"], where=where)
        args = entry.get("args", {})
        if not isinstance(args, dict) or not isinstance(entry.get("signer"), str):
            raise ScenarioError(f"{where} needs a signer and a table of args")
        calls.append(
            ScenarioCall(
                _whole(entry, "block", where, 1, blocks),
                entry["signer"].removeprefix("dev:"),
                str(entry.get("call")),
                {name: value if isinstance(value, str) else str(value).lower() for name, value in args.items()},
                where,
            )
        )
    variants = []
    for at, entry in enumerate(_list(document, "variants", "scenario")):
        refuse_unknown_keys(entry, ["name", "hyperparameters"], where=f"variants[{at}]")
        table = entry.get("hyperparameters", {})
        refuse_unknown_keys(table, list(kinds_of(SubnetHyperparameters)), where=f"variants[{at}].hyperparameters")
        variants.append((str(entry.get("name", f"variant {at + 1}")), table))
    return EconomyScenario(
        name=str(document.get("name", "scenario")),
        spec=chain,
        blocks=blocks,
        calls=tuple(calls),
        variants=tuple(variants) or (("as configured", {}),),
    )


# --- typed access -----------------------------------------------------------------------------------------------------


def _list(document: Mapping[str, Any], key: str, where: str) -> list[Any]:
    value = document.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ScenarioError(f"{where}: {key} is no list of tables", remedy=f"write [[{key}]]")
    return value


def _whole(
    document: Mapping[str, Any], key: str, where: str, lowest: int, highest: int, default: int | None = None
) -> int:
    value = document.get(key, default)
    if type(value) is not int or not lowest <= value <= highest:
        raise ScenarioError(f"{where}: {key} is {value!r}", remedy=f"give a whole number from {lowest} to {highest}")
    return value


def _flag(document: Mapping[str, Any], key: str, where: str) -> bool:
    value = document.get(key, False)
    if not isinstance(value, bool):
        raise ScenarioError(f"{where}: {key} is {value!r}", remedy="give true or false")
    return value


def _neuron(value: Any, names: list[str], where: str) -> int:
    if isinstance(value, str) and value in names:
        return names.index(value)
    if type(value) is int and 0 <= value < len(names):
        return value
    raise ScenarioError(f"{where}: there is no neuron {value!r}", remedy=f"name one of {', '.join(names[:8])}")


def _amount(value: Any, where: str) -> int:
    """Units of an amount in whole alpha, decimals allowed."""
    share = _share(value, where) * UNITS
    if share.denominator != 1 or share >= 1 << 62:
        raise ScenarioError(f"{where} is {value!r}", remedy="give an amount of at most nine decimals")
    return int(share)


def _share(value: Any, where: str) -> Fraction:
    if type(value) in (int, float) or isinstance(value, str):
        try:
            share = Fraction(str(value))
        except (ValueError, ZeroDivisionError):
            share = Fraction(-1)
        if share >= 0:
            return share
    raise ScenarioError(f"{where} is {value!r}", remedy="give a number that is not negative")
