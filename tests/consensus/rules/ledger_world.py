"""A small economy that lives at random: calls of the whole table, good and bad, epochs, and checks after each block.

Every block is executed by rules that check the whole ledger. A block with one call that fails is compared with the
block without it: a failed call leaves nothing but its fee and nonce.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any

from call_draws import COLDKEYS, HOTKEYS, TAO, CallDraws, reveal_arguments
from dev_chain import DevChain, account, dev_spec, subnet
from failed_calls import columns_but_accounts
from yumad.consensus.block import Body
from yumad.consensus.chain_spec import ChainSpec, NeuronSpec
from yumad.consensus.profiles import DEV
from yumad.consensus.rules.checked import checked_rules_for
from yumad.consensus.rules.interface import BlockOutcome
from yumad.consensus.rules.v1.calls.call import Call
from yumad.consensus.rules.v1.calls.table import call_named
from yumad.consensus.rules.v1.errors import error_name
from yumad.consensus.types import Netuid, Rao


def world_spec(seed: int = 0) -> ChainSpec:
    """Three subnets of different owners with few slots; tempo 10, every delay short."""
    small = replace(
        DEV.hyperparameters,
        max_allowed_uids=5,
        min_allowed_uids=2,
        min_non_immune_uids=1,
        immunity_period=6,
        weights_set_rate_limit=2,
        max_allowed_validators=3,
    )
    subnets = []
    for netuid, owner in enumerate(COLDKEYS[:3], start=1):
        keys = [(f"{name}/hot-0", name) for name in (owner, COLDKEYS[netuid % 4], COLDKEYS[(netuid + 1) % 4])]
        neurons = tuple(
            NeuronSpec(account(hot), account(cold), Rao((40 + 10 * uid) * TAO), 0, 1, uid < 2)
            for uid, (hot, cold) in enumerate(keys)
        )
        parameters = replace(
            small,
            commit_reveal_weights_enabled=netuid == 2,
            liquid_alpha_on=netuid == 3,
            yuma3_on=netuid != 1,
            recycle_or_burn=netuid == 3,
        )
        subnets.append(
            replace(
                subnet(),
                netuid=Netuid(netuid),
                owner_hotkey=account(keys[0][0]),
                owner_coldkey=account(owner),
                tao_reserve=Rao((50 + 100 * netuid) * TAO),
                alpha_reserve=Rao((700 - 200 * netuid) * TAO),
                quote_weight=(3 + netuid) * 10**17,
                moving_price=netuid << 30,
                hyperparameters=parameters,
                neurons=neurons,
            )
        )
    return replace(
        dev_spec(salt=seed.to_bytes(8, "big")),
        balances=tuple(sorted((account(name), Rao(20_000 * TAO)) for name in (*COLDKEYS, "heir", *HOTKEYS))),
        subnets=tuple(subnets),
    )


class LedgerWorld:
    """One chain with its history of what was tried."""

    def __init__(self, rng: Random, spec: ChainSpec | None = None) -> None:
        self.rng = rng
        self.chain = DevChain(world_spec() if spec is None else spec)
        self.chain.rules = checked_rules_for(1)
        self.draws = CallDraws(rng, self.chain)
        self.results: Counter[tuple[str, str]] = Counter()
        """(call, result) of everything included, and (`refused`, reason) of what was kept out."""
        self.bodies: list[Body] = []
        self.blocks = 0
        self.epochs = 0

    def live(self) -> None:
        """One block, with calls or without."""
        wanted = self.rng.choice((0, 0, 1, 1, 1, 2, 4))
        self.block([self._draw() for _ in range(wanted)])

    def _draw(self) -> tuple[str, Call, tuple[Any, ...]]:
        """Mostly any call; now and then a reveal of what was committed before, which chance alone seldom hits."""
        if self.draws._commits and self.rng.random() < 0.1:
            signer, netuid = self.rng.choice(sorted(self.draws._commits))
            call = call_named("weights.reveal_weights")
            assert call is not None
            return signer, call, reveal_arguments(self.draws, signer, netuid)
        return self.draws.draw()

    def block(self, drawn: list[tuple[str, Call, tuple[Any, ...]]]) -> BlockOutcome:
        """A block that offers these calls; what may not be included is skipped, as a builder does."""
        chain, names = self.chain, {}
        nonces: dict[str, int] = {}
        for signer, call, args in drawn:
            nonce = nonces.setdefault(signer, chain.nonce(signer))
            names[chain.sign(signer, call.name, *args, nonce=nonce)] = call.name
            nonces[signer] += 1
        without = self._columns_without() if len(names) == 1 else None
        body, outcome, skipped = chain.selected(*names)
        for _, reason in skipped:
            self.results["refused", reason] += 1
        for signed, done in zip(body.transactions, outcome.transactions, strict=True):
            self.results[names[signed], error_name(done.code)] += 1
        if without is not None and outcome.transactions and outcome.transactions[0].code:
            self._check_no_effect(names[body.transactions[0]], without)
        self.bodies.append(body)
        self.blocks += 1
        self.epochs += len(outcome.epochs)
        return outcome

    def _columns_without(self) -> dict[str, bytes]:
        """Roots of the columns as an empty block would leave them."""
        state, mark = self.chain.state, self.chain.state.begin()
        self.chain.rules.apply_block(state, self.chain.context(), Body(None, (), ()))
        columns = columns_but_accounts(state)
        state.rollback(mark)
        return columns

    def _check_no_effect(self, name: str, without: dict[str, bytes]) -> None:
        after = columns_but_accounts(self.chain.state)  # signer and author: the fee and the nonce
        changed = [column for column in sorted({*after, *without}) if after.get(column) != without.get(column)]
        assert not changed, f"{name} failed and changed {changed}"
