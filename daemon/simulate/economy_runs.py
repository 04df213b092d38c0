"""The `economy` mode: a chain in memory whose blocks the real rules execute, with the scenario's calls in them."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any, Final

import numpy as np

from ...consensus.block import Body
from ...consensus.chain_spec import ChainSpec, check_chain_spec
from ...consensus.chain_spec_toml import chain_spec_from_document
from ...consensus.dev_accounts import dev_authority, dev_keypair
from ...consensus.rules.interface import BlockOutcome
from ...consensus.rules.v1.calls.table import call_named
from ...consensus.rules.v1.epoch_record import EpochRecord
from ...consensus.rules.v1.errors import error_name
from ...consensus.rules.v1.explanation import rerun
from ...consensus.rules.v1.markets import spot
from ...consensus.rules.v1.payout import PaymentKind
from ...consensus.rules.v1.read import price_in_rao
from ...consensus.rules.v1.subnets import netuids
from ...consensus.ss58 import encode_address
from ...consensus.transaction import encode_transaction, sign_transaction
from ...consensus.types import AccountId, InvalidError, MalformedError, Rao
from ..arguments import ArgumentError, parse_text
from .epoch_runs import bond_rows
from .memory_chain import MemoryChain
from .results import EpochRow, MarketRow, VariantResult
from .scenario import EconomyScenario, ScenarioCall, ScenarioError

AUTHORITY_STAKE: Final = Rao(10**9)
"""One TAO on root: the lone author has to weigh something, and should not weigh more."""

_DEFAULTS: Final = {"name": "simulation", "profile": "dev", "genesis_time": 1}

_EARNED: Final = (
    PaymentKind.INCENTIVE,
    PaymentKind.TAKE,
    PaymentKind.NOMINATORS,
    PaymentKind.ROOT_TAKE,
    PaymentKind.ROOT_CLAIMABLE,
    PaymentKind.ROOT_TO_OWNER,
)
"""What counts as a neuron's emission: what its work and judgement brought to it and to those behind it. The owner's cut
is no neuron's, and what was withheld from an owner's keys nobody has."""


def run_economy(scenario: EconomyScenario) -> list[VariantResult]:
    """Every variant of a scenario. Raises ScenarioError for a chain or a call that cannot be."""
    return [_run_variant(scenario, name, table) for name, table in scenario.variants]


def _run_variant(scenario: EconomyScenario, name: str, table: Mapping[str, Any]) -> VariantResult:
    run = EconomyRun(scenario, name, table)
    calls_at: dict[int, list[ScenarioCall]] = {}
    for call in scenario.calls:
        calls_at.setdefault(call.block, []).append(call)
    for height in range(1, scenario.blocks + 1):
        run.block(calls_at.get(height, []))
    return run.result


class EconomyRun:
    """One variant, block by block: for callers that decide on a block's calls by what came before."""

    def __init__(self, scenario: EconomyScenario, name: str, table: Mapping[str, Any]) -> None:
        """Raises ScenarioError."""
        self.result = VariantResult(name)
        self._chain, self._known = _Chain(_spec(scenario, table)), _development_names(scenario)

    @property
    def height(self) -> int:
        """Of the newest block."""
        return self._chain.height

    def block(self, calls: list[ScenarioCall]) -> None:
        """The next block with these calls. Raises ScenarioError."""
        height, outcome = self.height + 1, self._chain.block(calls)
        for call, done in zip(calls, outcome.transactions, strict=True):
            self.result.calls.append(
                {"block": height, "signer": call.signer, "call": call.call, "result": error_name(done.code)}
            )
        _note(self.result, self._chain, height, outcome, self._known)


def _spec(scenario: EconomyScenario, table: Mapping[str, Any]) -> ChainSpec:
    """The scenario's chain with a development authority of its own, and a variant's hyperparameters everywhere.

    Raises ScenarioError.
    """
    document = {**_DEFAULTS, **scenario.spec}
    subnets = document.get("subnets", [])
    if isinstance(subnets, list):
        document["subnets"] = [
            {**subnet, "hyperparameters": {**subnet["hyperparameters"], **table}}
            if isinstance(subnet, dict) and isinstance(subnet.setdefault("hyperparameters", {}), dict)
            else subnet
            for subnet in deepcopy(subnets)
        ]
    try:
        bare = chain_spec_from_document(document, check=False)
        authority = dev_authority(1, bare.name, bare.salt).spec
        staked = [*bare.stakes, (authority.hotkey, authority.coldkey, AUTHORITY_STAKE)]
        spec = replace(bare, authorities=(authority,), stakes=tuple(sorted(staked)))
        check_chain_spec(spec)
    except (InvalidError, MalformedError) as error:
        raise ScenarioError(f"chain: {error.message}", remedy=error.remedy) from None
    return spec


def _development_names(scenario: EconomyScenario) -> dict[bytes, str]:
    """The development names a scenario uses, by account: people wrote those, and want to read them again."""
    names = {call.signer: None for call in scenario.calls}
    waiting: list[Any] = [scenario.spec, [dict(call.args) for call in scenario.calls]]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value
        elif isinstance(value, str) and value.startswith("dev:"):
            names[value.removeprefix("dev:")] = None
    return {dev_keypair(name).public_key: name for name in names}


class _Chain(MemoryChain):
    """A chain that takes a scenario's calls."""

    def block(self, calls: list[ScenarioCall]) -> BlockOutcome:
        """The next block with these calls. Raises ScenarioError for one that may not be included."""
        nonces: dict[bytes, int] = {}
        signed = [self._signed(call, nonces) for call in calls]
        ctx = self.context()
        try:
            outcome = self.rules.apply_block(self.state, ctx, Body(None, (), tuple(signed)), True)
        except InvalidError as error:
            places = ", ".join(f"{call.place} ({call.call})" for call in calls)
            raise ScenarioError(f"block {ctx.height} with {places}: {error.message}", remedy=error.remedy) from None
        self.advance(outcome, self.state.root())
        return outcome

    def _signed(self, wanted: ScenarioCall, nonces: dict[bytes, int]) -> bytes:
        call = call_named(wanted.call)
        if call is None:
            raise ScenarioError(
                f"{wanted.place}: there is no call {wanted.call!r}", remedy="`yumad tx calls` lists them"
            )
        names = [argument.name for argument in call.arguments]
        if sorted(names) != sorted(wanted.args):
            raise ScenarioError(f"{wanted.place}: {wanted.call} takes {', '.join(names) or 'no arguments'}")
        try:
            wire = [parse_text(argument, wanted.args[argument.name]) for argument in call.arguments]
        except ArgumentError as error:
            raise ScenarioError(f"{wanted.place}: {error.message}", remedy=error.remedy) from None
        key = dev_keypair(wanted.signer)
        signer = key.public_key
        nonce = nonces.get(signer, self.state.accounts().nonce(signer, self.height + 1))
        nonces[signer] = nonce + 1
        until = self.height + 100
        return encode_transaction(
            sign_transaction(self.domain, key, nonce=nonce, valid_until=until, call=call.number, args=wire)
        )


def _note(result: VariantResult, chain: _Chain, height: int, outcome: BlockOutcome, known: Mapping[bytes, str]) -> None:
    state = chain.state
    for netuid in netuids(state):
        numbers = {
            name: int(state.read(f"subnets/{name}", netuid))
            for name in ("tao_reserve", "alpha_reserve", "alpha_out", "tao_in_emission", "excess_tao")
        }
        result.market.append(
            MarketRow(
                height,
                netuid,
                price_in_rao(spot(state, netuid)),
                state.read_wide("subnets/moving_price", netuid) * 10**9 >> 32,
                numbers["tao_reserve"],
                numbers["alpha_reserve"],
                numbers["alpha_out"],
                numbers["tao_in_emission"] + numbers["excess_tao"],
            )
        )
    for epoch in outcome.epochs:
        if isinstance(epoch.record, EpochRecord) and epoch.record.inputs:
            _note_epoch(result, chain, epoch.record, known)


def _note_epoch(result: VariantResult, chain: _Chain, record: EpochRecord, known: Mapping[bytes, str]) -> None:
    """The neurons of an epoch, over all mechanisms; bonds of the first."""
    netuid, run = record.netuid, rerun(record)
    number = int(chain.state.read("subnets/epoch_index", netuid)) - 1
    paid: dict[bytes, int] = {}
    for payment in record.payout.payments:
        if payment.kind not in _EARNED:
            continue
        paid[payment.earner] = paid.get(payment.earner, 0) + payment.amount
    traces = [output.trace for output in run.outputs if output.trace is not None]
    for uid, hotkey in enumerate(emission.hotkey for emission in record.payout.emissions):
        label = known.get(hotkey) or encode_address(AccountId(hotkey))[:12]
        result.neurons[netuid, uid] = f"{netuid}/{uid} {label}"
        incentive, dividends, consensus, trust = (
            int(np.array([getattr(trace, name)[uid] for trace in traces], dtype=np.int64).sum()) // len(traces)
            for name in ("incentive", "dividends", "consensus", "validator_trust")
        )
        stake = int(run.outputs[0].stake[uid])
        row = (number, record.height, netuid, uid, stake, incentive, dividends, consensus, trust, paid.get(hotkey, 0))
        result.epochs.append(EpochRow(*row))
    result.bonds += bond_rows(number, netuid, traces[0].ema_bonds, columns=not record.inputs[0].parameters.yuma3)
