"""Scenario files of the `economy` mode: a chain spec, calls in its blocks, variants of the hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ...consensus.chain_spec_fields import kinds_of, refuse_unknown_keys
from ...consensus.chain_spec_parameters import SubnetHyperparameters
from .scenario import EconomyScenario, ScenarioCall, ScenarioError
from .scenario_fields import named_once, tables, text, whole_number

MAX_BLOCKS: Final = 100_000


def economy_scenario(document: Mapping[str, Any]) -> EconomyScenario:
    """The scenario of a parsed document. Raises ScenarioError, or InvalidError for an unknown key."""
    refuse_unknown_keys(document, ["name", "mode", "blocks", "chain", "calls", "variants"], where="scenario")
    chain = document.get("chain")
    if not isinstance(chain, dict):
        raise ScenarioError("an economy needs a [chain] table", remedy="it is a chain spec: subnets, dev, stakes …")
    if "authorities" in chain:
        raise ScenarioError(
            "chain.authorities: a simulated chain has one author of its own", remedy="leave authorities out"
        )
    blocks = whole_number(document, "blocks", "scenario", 1, MAX_BLOCKS)
    return EconomyScenario(
        name=text(document, "name", "scenario", "scenario"),
        spec=chain,
        blocks=blocks,
        calls=tuple(sorted(_calls(document, blocks), key=lambda call: call.block)),
        variants=tuple(_variants(document)) or (("as configured", {}),),
    )


def _calls(document: Mapping[str, Any], blocks: int) -> list[ScenarioCall]:
    calls = []
    for at, entry in enumerate(tables(document, "calls", "scenario")):
        where = f"calls[{at}]"
        refuse_unknown_keys(entry, ["block", "signer", "call", "args"], where=where)
        args = entry.get("args", {})
        if not isinstance(args, dict):
            raise ScenarioError(f"{where}: args is {args!r}", remedy='write { hotkey = "dev:NAME", netuid = 1 }')
        calls.append(
            ScenarioCall(
                whole_number(entry, "block", where, 1, blocks),
                text(entry, "signer", where).removeprefix("dev:"),
                text(entry, "call", where),
                {name: _written(value) for name, value in args.items()},
                where,
            )
        )
    return calls


def _written(value: Any) -> str:
    """An argument as people write it on the command line."""
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    return value if isinstance(value, str) else str(value).lower()


def _variants(document: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    variants = []
    for at, entry in enumerate(tables(document, "variants", "scenario")):
        where = f"variants[{at}]"
        refuse_unknown_keys(entry, ["name", "hyperparameters"], where=where)
        table = entry.get("hyperparameters", {})
        refuse_unknown_keys(table, list(kinds_of(SubnetHyperparameters)), where=f"{where}.hyperparameters")
        variants.append((text(entry, "name", where, f"variant {at + 1}"), table))
    named_once([name for name, _ in variants], "variants")
    return variants
