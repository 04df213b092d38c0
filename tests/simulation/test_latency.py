"""Constant latency from a tenth to ten times T_PROPOSE and beyond, slot rule on: each gains blocks (CHAIN 6.4).

The sweep goes *through* both timers, where the first draft of the back-off died: steps of 5 % of the value.
"""

import pytest
from simulation.recipes import constant_latency
from simulation.world import SECOND, Setting, World
from yumad.consensus.engine import Engine

T_PROPOSE = 3 * SECOND


def steps() -> list[int]:
    """0.1 to 10 x T_PROPOSE, each step 5 % above the last, in microseconds."""
    found, latency = [], T_PROPOSE // 10
    while latency <= 10 * T_PROPOSE:
        found.append(latency)
        latency = latency * 21 // 20
    return found


@pytest.mark.parametrize("members", [1, 4])
def test_every_step_of_the_sweep_gains_blocks(members: int) -> None:
    for latency in steps():
        slots = 30 if latency < 4 * T_PROPOSE else 60
        outcome = constant_latency(Engine, (latency, latency), slots, members)
        least = 28 if members == 1 else 25 if latency < SECOND else 1
        assert min(outcome.gains) >= least, f"{latency} us: {outcome}"


@pytest.mark.parametrize("latency", steps()[::8])
def test_ten_authorities_gain_blocks_at_every_eighth_step(latency: int) -> None:
    outcome = constant_latency(Engine, (latency, latency), 30 if latency < 4 * T_PROPOSE else 60, 10)
    assert min(outcome.gains) >= 1, str(outcome)


@pytest.mark.parametrize("latency", [33 * SECOND, 40 * SECOND])
def test_latency_of_three_slots_is_slow_but_alive(latency: int) -> None:
    outcome = constant_latency(Engine, (latency, latency), 300)
    assert min(outcome.gains) >= 5, str(outcome)


@pytest.mark.parametrize("spread", [(2_500_000, 2_900_000), (2_300_000, 2_900_000), (6_000_000, 9_000_000)])
def test_jitter_around_half_the_second_timer_is_alive(spread: tuple[int, int]) -> None:
    outcome = constant_latency(Engine, spread, 40, 10)
    assert min(outcome.gains) >= 10, str(outcome)


@pytest.mark.parametrize("latency", [2_000, 20_000, 30_000, 40_000, 60_000, 120_000])
def test_quarter_second_slots_live_on_links_up_to_half_a_slot(latency: int) -> None:
    setting = Setting(
        slot=SECOND // 4,
        tick=20_000,
        latency=(latency, latency),
        execution=(1_000, 4_000),
        build=(1_000, 2_000),
        era_blocks=20,
    )
    world = World(setting)
    world.start()
    world.run(30 * SECOND)
    assert min(node.chain.finalised.height for node in world.nodes) >= 10
