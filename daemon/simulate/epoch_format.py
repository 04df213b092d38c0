"""Scenario files of the `epochs` mode: neurons, weights that hold from an epoch on, variants of the rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ...consensus.chain_spec_fields import kinds_of, override, refuse_unknown_keys
from ...consensus.chain_spec_parameters import SubnetHyperparameters
from ...consensus.profiles import FINNEY
from ...consensus.types import U64_MAX
from .results import ONE
from .scenario import UNITS, EpochScenario, ScenarioError, Variant, WeightRow
from .scenario_fields import amount, flag, named_once, neuron_uid, share, tables, text, whole_number

MAX_EPOCHS: Final = 10_000
MAX_NEURONS: Final = 1024

_KEYS: Final = [
    "name", "mode", "epochs", "emission", "owner", "neurons", "stakes", "weights", "registrations",
    "hyperparameters", "variants",
]  # fmt: skip
_VARIANT_KEYS: Final = ["name", "hyperparameters", "changes", "exact", "keep_permits", "liquid_rates"]


def epoch_scenario(document: Mapping[str, Any]) -> EpochScenario:
    """The scenario of a parsed document. Raises ScenarioError, or InvalidError for a hyperparameter."""
    refuse_unknown_keys(document, _KEYS, where="scenario")
    names, first = _neurons(document)
    epochs = whole_number(document, "epochs", "scenario", 1, MAX_EPOCHS)
    owner = document.get("owner")
    table = document.get("hyperparameters", {})
    if not isinstance(table, dict):
        raise ScenarioError("hyperparameters is no table", remedy="write [hyperparameters]")
    base = override(
        FINNEY.hyperparameters,
        {"tempo": 1, "commit_reveal_weights_enabled": False, **table},
        where="hyperparameters",
    )
    return EpochScenario(
        name=text(document, "name", "scenario", "scenario"),
        neurons=tuple(names),
        stakes=_stakes(document, names, first, epochs),
        weights=_weights(document, names, epochs),
        epochs=epochs,
        emission=whole_number(document, "emission", "scenario", 0, U64_MAX, UNITS),
        owner_uid=None if owner is None else neuron_uid(owner, names, "owner"),
        registrations=_registrations(document, names, epochs),
        variants=tuple(_variants(document, base, epochs)),
    )


def _neurons(document: Mapping[str, Any]) -> tuple[list[str], list[int]]:
    """Names and first stakes, by uid."""
    entries = tables(document, "neurons", "scenario")
    if not 1 <= len(entries) <= MAX_NEURONS:
        raise ScenarioError(f"scenario: {len(entries)} neurons", remedy=f"give 1 to {MAX_NEURONS} tables [[neurons]]")
    names, stakes = [], []
    for uid, entry in enumerate(entries):
        where = f"neurons[{uid}]"
        refuse_unknown_keys(entry, ["name", "stake"], where=where)
        names.append(text(entry, "name", where, f"uid {uid}"))
        stakes.append(amount(entry.get("stake", 0), f"{where}.stake"))
    named_once(names, "neurons")
    return names, stakes


def _stakes(document: Mapping[str, Any], names: list[str], first: list[int], epochs: int) -> dict[int, tuple[int, ...]]:
    changes = []
    for at, entry in enumerate(tables(document, "stakes", "scenario")):
        where = f"stakes[{at}]"
        refuse_unknown_keys(entry, ["epoch", "neuron", "stake"], where=where)
        uid = neuron_uid(entry.get("neuron"), names, where)
        changes.append((_epoch(entry, where, epochs), uid, amount(entry.get("stake"), f"{where}.stake")))
    stakes, now = {0: tuple(first)}, first
    for epoch, uid, stake in sorted(changes, key=lambda change: change[0]):  # the file need not be in order
        now = [*now[:uid], stake, *now[uid + 1 :]]
        stakes[epoch] = tuple(now)
    return stakes


def _weights(document: Mapping[str, Any], names: list[str], epochs: int) -> tuple[WeightRow, ...]:
    rows: dict[tuple[int, int], WeightRow] = {}
    for at, entry in enumerate(tables(document, "weights", "scenario")):
        where = f"weights[{at}]"
        refuse_unknown_keys(entry, ["epoch", "validator", "on", "once"], where=where)
        on = entry.get("on")
        if not isinstance(on, dict):
            raise ScenarioError(f"{where}.on is {on!r}", remedy='write { "miner" = 0.7, "other miner" = 0.3 }')
        row = WeightRow(
            _epoch(entry, where, epochs, 0),
            neuron_uid(entry.get("validator"), names, where),
            tuple(neuron_uid(target, names, f"{where}.on") for target in on),
            tuple(share(value, f"{where}.on.{target}") for target, value in on.items()),
            flag(entry, "once", where),
        )
        if (row.epoch, row.validator) in rows:
            raise ScenarioError(
                f"{where}: {names[row.validator]!r} has weights from epoch {row.epoch} on already",
                remedy="put all its targets into one table",
            )
        rows[row.epoch, row.validator] = row
    return tuple(rows.values())


def _registrations(document: Mapping[str, Any], names: list[str], epochs: int) -> dict[int, tuple[int, ...]]:
    found: dict[int, tuple[int, ...]] = {}
    for at, entry in enumerate(tables(document, "registrations", "scenario")):
        where = f"registrations[{at}]"
        refuse_unknown_keys(entry, ["epoch", "neuron"], where=where)
        epoch = _epoch(entry, where, epochs)
        found[epoch] = (*found.get(epoch, ()), neuron_uid(entry.get("neuron"), names, where))
    return found


def _variants(document: Mapping[str, Any], base: SubnetHyperparameters, epochs: int) -> list[Variant]:
    variants = []
    for at, entry in enumerate(tables(document, "variants", "scenario")):
        where = f"variants[{at}]"
        refuse_unknown_keys(entry, _VARIANT_KEYS, where=where)
        chosen = override(base, entry.get("hyperparameters", {}), where=f"{where}.hyperparameters")
        variants.append(
            Variant(
                text(entry, "name", where, f"variant {at + 1}"),
                chosen,
                _changes(entry, where, chosen, epochs),
                exact=flag(entry, "exact", where),
                keep_permits=flag(entry, "keep_permits", where),
                liquid_rates=_rates(entry.get("liquid_rates"), where),
            )
        )
    named_once([variant.name for variant in variants], "variants")
    return variants or [Variant("as configured", base)]


def _changes(
    entry: Mapping[str, Any], where: str, chosen: SubnetHyperparameters, epochs: int
) -> dict[int, SubnetHyperparameters]:
    changes = []
    for number, change in enumerate(tables(entry, "changes", where)):
        place = f"{where}.changes[{number}]"
        refuse_unknown_keys(change, ["epoch", *kinds_of(SubnetHyperparameters)], where=place)
        table = {key: value for key, value in change.items() if key != "epoch"}
        changes.append((_epoch(change, place, epochs), place, table))
    found = {}
    for epoch, place, table in sorted(changes, key=lambda change: change[0]):
        chosen = found[epoch] = override(chosen, table, where=place)
    return found


def _epoch(entry: Mapping[str, Any], where: str, epochs: int, default: int | None = None) -> int:
    """An epoch that is run: one past the last would change nothing, which is never meant."""
    return whole_number(entry, "epoch", where, 0, epochs - 1, default)


def _rates(value: Any, where: str) -> tuple[int, int] | None:
    if value is None:
        return None
    bounds = [share(bound, f"{where}.liquid_rates") for bound in value] if isinstance(value, list) else []
    if len(bounds) != 2 or not 0 <= bounds[0] <= bounds[1] <= 1:
        raise ScenarioError(f"{where}.liquid_rates is {value!r}", remedy="give two shares: [0.1, 0.3]")
    return int(bounds[0] * ONE), int(bounds[1] * ONE)
