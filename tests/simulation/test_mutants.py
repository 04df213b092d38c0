"""Every rule has a planted bug that the simulator notices, beside the same run without the bug (CHAIN 1.9).

Random faults find some; the rest are the aimed recipes. "Notices" means a fork, another broken invariant, or a chain
that stays stuck after the network healed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from simulation import recipes
from simulation.adversaries import Liar
from simulation.campaigns import HARSH, ROUGH, equal, rotating
from simulation.faults import Outcome, Plan, play
from simulation.mutants import (
    CountsNullifiedViewsOnly,
    DropsLateFinalize,
    FinalizesAndNullifies,
    FixedSlotWindow,
    IgnoresParentRule,
    NoBackoff,
    NoEraStop,
    OverwritingGuard,
    PermissiveGuard,
    ResetsLevel,
    SecondNotarize,
    SecondNotarizeBothKept,
    SlotRuleForReproposals,
    TwinEngine,
    UnbornGuard,
    WindowFromFinalised,
)
from simulation.stores import Guard
from simulation.world import SECOND, Driver, Setting, World
from yumad.consensus.authority import AuthoritySet
from yumad.consensus.engine import Engine

Make = Callable[[int], Setting]


def four(**changes: object) -> Make:
    """Four equal authorities."""
    return lambda seed: Setting(**{"seed": seed, "weights": equal(4), **changes})  # type: ignore[arg-type]


def alone(**changes: object) -> Make:
    """One authority."""
    return four(**{"members": range(1), "weights": equal(1), **changes})


def first_bad(make: Make, plan: Plan, seeds: Iterable[int]) -> Outcome | None:
    """The first run that is not good."""
    for seed in seeds:
        outcome = play(make(seed), plan)
        if not outcome.is_good:
            return outcome
    return None


def seconds(low: float, high: float) -> tuple[int, int]:
    """A latency range in microseconds."""
    return int(low * SECOND), int(high * SECOND)


# --- found by random faults -----------------------------------------------------------------------------------------

RANDOM = {
    "R8 finalize and nullify both allowed": (
        four(kinds={3: Liar}, engine=FinalizesAndNullifies, guard=PermissiveGuard),
        four(kinds={3: Liar}),
        HARSH,
        10,
    ),
    "vote guard lost in a crash": (four(kinds={3: Liar}, driver=Driver(keeps_guard=False)), four(), HARSH, 10),
    "no repair exchange": (four(driver=Driver(repairs=False)), four(), ROUGH, 5),
    "R9 body stored 20 ms after the vote": (alone(driver=Driver(body_delay=20_000)), alone(), HARSH, 20),
    "R7 prune before commit, no floor": (
        alone(driver=Driver(prunes_before_commit=True, has_floor=False)),
        alone(),
        HARSH,
        30,
    ),
    "R7 prune before commit, with floor": (alone(driver=Driver(prunes_before_commit=True)), alone(), HARSH, 30),
    "R10 own votes not given back": (four(driver=Driver(offers_own_votes=False)), four(), HARSH, 10),
    "R11 certificates not given back": (
        four(kinds={3: Liar}, driver=Driver(feeds_certificates=False)),
        four(kinds={3: Liar}),
        replace(HARSH, crash_at_finality=0.3),
        40,
    ),
    "R13 slot rule for re-proposals": (
        four(weights=rotating(4), era_blocks=2, engine=SlotRuleForReproposals),
        four(weights=rotating(4), era_blocks=2),
        HARSH,
        20,
    ),
    "two liars of four": (four(kinds={2: Liar, 3: Liar}), four(kinds={3: Liar}), ROUGH, 10),
}


@pytest.mark.parametrize("name", RANDOM)
def test_planted_bug_under_random_faults_is_noticed(name: str) -> None:
    mutant, _, plan, seeds = RANDOM[name]
    assert first_bad(mutant, plan, range(seeds)) is not None, f"{name}: {seeds} seeds and nothing was noticed"


@pytest.mark.parametrize("name", RANDOM)
def test_same_runs_without_the_planted_bug_are_good(name: str) -> None:
    _, control, plan, _ = RANDOM[name]
    outcome = first_bad(control, plan, range(8))
    assert outcome is None, f"{name}: {outcome}"


def test_quorum_of_one_half_with_two_liars_of_seven_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(seed: int) -> Setting:
        return Setting(seed=seed, members=range(7), weights=equal(7), kinds={2: Liar, 3: Liar})

    assert first_bad(make, ROUGH, range(4)) is None
    monkeypatch.setattr(AuthoritySet, "quorum", property(lambda self: self.total_weight // 2 + 1))
    assert first_bad(make, ROUGH, range(12)) is not None


# --- aimed recipes --------------------------------------------------------------------------------------------------


def test_parent_rule_unchecked_with_slow_finalize_votes_contradicts() -> None:
    good, bad = recipes.stale_parent(Engine), recipes.stale_parent(IgnoresParentRule)
    assert min(good.gains) >= 45
    assert bad.is_fork or bad.halts


def test_second_notarize_in_a_view_halts() -> None:
    good = recipes.double_leader(Engine, Guard)
    assert min(good.gains) >= 40
    assert not good.halts
    bad = recipes.double_leader(SecondNotarize, PermissiveGuard)
    assert max(bad.gains) == 0
    assert "contradict" in bad.halts[0][2]


def test_second_notarize_with_both_notarizations_kept_forks_at_height_one() -> None:
    bad = recipes.double_leader(SecondNotarizeBothKept, PermissiveGuard)
    assert bad.is_fork
    assert "at height 1," in bad.violation


def test_era_stop_removed_forks_after_the_boundary() -> None:
    good, bad = recipes.era_stop(Engine), recipes.era_stop(NoEraStop)
    assert min(good.gains) >= 20
    assert bad.is_fork
    assert "at height 6," in bad.violation


def test_guard_birth_ignored_after_two_lost_disks_forks() -> None:
    good = recipes.two_disks_replaced(Guard, TwinEngine)
    assert not good.violation
    assert max(good.gains) == 0, "it waits for the operator"
    bad = recipes.two_disks_replaced(UnbornGuard, TwinEngine)
    assert bad.is_fork
    assert "at height 6," in bad.violation


def test_guard_birth_ignored_is_stopped_by_the_second_signer_rule_too() -> None:
    outcome = recipes.two_disks_replaced(UnbornGuard, Engine)
    assert not outcome.violation


def test_stored_finalization_not_given_back_is_stuck() -> None:
    good = recipes.finalization_stored_then_crash(Setting(guard=OverwritingGuard))
    assert min(good.gains) >= 40
    bad = recipes.finalization_stored_then_crash(
        Setting(guard=OverwritingGuard, driver=Driver(feeds_finalizations=False))
    )
    assert max(bad.gains) <= 6


def test_guard_that_keeps_notarization_and_finalization_survives_losing_the_latter() -> None:
    outcome = recipes.finalization_stored_then_crash(Setting(driver=Driver(feeds_finalizations=False)))
    assert min(outcome.gains) >= 40


def test_votes_window_counted_from_finality_is_stuck_after_64_views() -> None:
    good, bad = recipes.proposals_lost(Engine), recipes.proposals_lost(WindowFromFinalised)
    assert good.height > 64
    assert min(good.gains) >= 100
    assert max(bad.gains) == 0


def test_no_backoff_on_slow_links_is_stuck() -> None:
    good = recipes.constant_latency(Engine, seconds(4, 9), 100)
    bad = recipes.constant_latency(NoBackoff, seconds(4, 9), 100)
    assert min(good.gains) >= 30
    assert max(bad.gains) == 0


@pytest.mark.parametrize("latency", [2.51, 2.6, 2.95, 9.0])
def test_backoff_blind_to_notarised_views_never_finalises(latency: float) -> None:
    good = recipes.constant_latency(Engine, seconds(latency, latency), 60)
    bad = recipes.constant_latency(CountsNullifiedViewsOnly, seconds(latency, latency), 60)
    assert min(good.gains) >= 15
    assert max(bad.gains) == 0


def test_backoff_reset_instead_of_decay_loses_blocks() -> None:
    def gained(engine: type[Engine]) -> int:
        return sum(min(recipes.constant_latency(engine, seconds(6, 9), 200, 4, seed).gains) for seed in range(3))

    assert gained(Engine) > gained(ResetsLevel) * 10 // 9


def test_slot_window_that_does_not_widen_is_stuck_beyond_three_slots_of_latency() -> None:
    good = recipes.constant_latency(Engine, seconds(35, 40), 300)
    bad = recipes.constant_latency(FixedSlotWindow, seconds(35, 40), 300)
    assert min(good.gains) >= 8
    assert max(bad.gains) == 0


@pytest.mark.parametrize("seed", range(4))
def test_resync_that_lags_behind_the_guard_still_votes_at_once(seed: int) -> None:
    outcome = recipes.resync_behind_the_guard(Driver(), seed)
    assert not outcome.violation
    assert outcome.gains == [1], "the key votes in the very era that its guard had voted in"


def test_new_era_without_the_guards_memory_after_a_resync_silences_the_key_or_contradicts_it() -> None:
    outcomes = [recipes.resync_behind_the_guard(Driver(recalls_in_new_eras=False), seed) for seed in range(4)]
    assert any("refused its engine" in outcome.violation for outcome in outcomes)
    assert all(outcome.violation or outcome.gains == [0] for outcome in outcomes[:2])


def test_late_finalize_votes_dropped_ejects_healthy_members_as_idle() -> None:
    def members_left(engine: type[Engine]) -> int:
        setting = Setting(
            members=range(31), weights=equal(31), latency=(20_000, 320_000), era_blocks=5, ejects_idle=True
        )
        setting.engine = engine
        world = World(setting)
        world.start()
        world.run(17 * 12 * SECOND)
        return len(world.nodes[0].chain.context.authorities.members)

    assert members_left(Engine) == 31
    assert members_left(DropsLateFinalize) < 31
