"""The random campaigns: settings and fault plans under which no seed may fork or stay stuck (CHAIN 1.9, 6.4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from simulation.adversaries import (
    CertificateHoarder,
    Equivocator,
    LateSender,
    Liar,
    SelectiveFinalizer,
    SelectiveSender,
    SilentLeader,
    StaleLeader,
    WithholdingLeader,
)
from simulation.faults import Outcome, Plan, play
from simulation.mutants import TwinEngine
from simulation.world import Driver, Setting

ROUGH = Plan(loss=0.2, crash_at_vote=0.12, partition=0.3, spike=0.02, skew=400_000, jumps=0.1)
"""Loss, crashes right at votes, partitions, tenfold delays, clocks apart and jumping."""

HARSH = Plan(loss=0.3, crash_at_vote=0.15, crash_at_effect=0.01, crash_at_finality=0.05, duplicate=0.1, partition=0.3)
"""More loss, and crashes before any effect and between R7's steps."""


def equal(members: int) -> Callable[[int], dict[int, int]]:
    """Everybody weighs the same in every era."""
    return lambda _: dict.fromkeys(range(members), 10)


def rotating(members: int) -> Callable[[int], dict[int, int]]:
    """Weights move round each era, and from era 1 on one member is left out in turn."""

    def weights(era: int) -> dict[int, int]:
        return {
            number: 10 + (number + era) % members * 3
            for number in range(members)
            if members < 4 or era == 0 or (number + era) % members != 0
        }

    return weights


def swapped(members: int) -> Callable[[int], dict[int, int]]:
    """Two halves of the members take turns: the whole set is replaced at each boundary."""
    half = members // 2
    return lambda era: dict.fromkeys(range(half) if era % 2 == 0 else range(half, members), 10)


@dataclass(frozen=True, slots=True)
class Campaign:
    """One kind of network under one kind of trouble."""

    name: str
    setting: Callable[[int], Setting]
    plan: Plan
    seeds: int
    """Seeds in each ordinary test run."""

    def play(self, seed: int) -> Outcome:
        """One run."""
        return play(self.setting(seed), self.plan)


CAMPAIGNS = (
    Campaign("alone", lambda seed: Setting(seed=seed, members=range(1), weights=equal(1)), HARSH, 200),
    Campaign("two", lambda seed: Setting(seed=seed, members=range(2), weights=equal(2)), HARSH, 100),
    Campaign("three", lambda seed: Setting(seed=seed, members=range(3), weights=equal(3), era_blocks=4), HARSH, 100),
    Campaign("four", lambda seed: Setting(seed=seed, weights=equal(4)), ROUGH, 200),
    Campaign("four-harsh", lambda seed: Setting(seed=seed, weights=equal(4)), HARSH, 200),
    Campaign("liar", lambda seed: Setting(seed=seed, weights=equal(4), kinds={3: Liar}), HARSH, 250),
    Campaign(
        "unequal-liar",
        lambda seed: Setting(seed=seed, weights=lambda _: {0: 30, 1: 30, 2: 25, 3: 15}, kinds={2: Liar}, era_blocks=9),
        ROUGH,
        150,
    ),
    Campaign(
        "twin",
        lambda seed: Setting(seed=seed, weights=equal(4), twins=(3,), engine_of={3: TwinEngine}),
        ROUGH,
        150,
    ),
    Campaign("rotating", lambda seed: Setting(seed=seed, weights=rotating(4), era_blocks=5), HARSH, 200),
    Campaign(
        "rotating-liar",
        lambda seed: Setting(seed=seed, members=range(5), weights=rotating(5), era_blocks=5, kinds={1: Liar}),
        ROUGH,
        120,
    ),
    Campaign(
        "full-swap", lambda seed: Setting(seed=seed, members=range(8), weights=swapped(8), era_blocks=4), ROUGH, 80
    ),
    Campaign(
        "listening",
        lambda seed: Setting(seed=seed, weights=equal(4), era_blocks=6, driver=Driver(listens=True)),
        ROUGH,
        40,
    ),
    Campaign("short-eras", lambda seed: Setting(seed=seed, weights=rotating(4), era_blocks=2), HARSH, 120),
    Campaign(
        "seven",
        lambda seed: Setting(
            seed=seed, members=range(7), weights=equal(7), kinds={1: Liar}, twins=(2,), engine_of={2: TwinEngine}
        ),
        ROUGH,
        30,
    ),
    Campaign(
        "dev-slots",
        lambda seed: Setting(
            seed=seed,
            weights=equal(4),
            slot=1_000_000,
            tick=20_000,
            latency=(1_000, 8_000),
            execution=(1_000, 9_000),
            build=(1_000, 5_000),
            era_blocks=20,
        ),
        Plan(heal=20, end=60, loss=0.2, crash_at_vote=0.1, partition=0.3, downtime=(50_000, 3_000_000), least_gain=10),
        60,
    ),
    *(
        Campaign(
            kind.__name__,
            lambda seed, kind=kind: Setting(  # type: ignore[misc]
                seed=seed, weights=equal(4), kinds={seed % 4: kind}, era_blocks=8
            ),
            ROUGH,
            30,
        )
        for kind in (
            CertificateHoarder,
            Equivocator,
            LateSender,
            SelectiveFinalizer,
            SelectiveSender,
            SilentLeader,
            StaleLeader,
            WithholdingLeader,
        )
    ),
)
