"""The rows of CHAIN 6.4 about bad peers, eras, floods and followers, one test each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from simulation.adversaries import HONEST_BUT_ODD, Equivocator, Liar, WithholdingLeader
from simulation.campaigns import ROUGH, equal
from simulation.faults import play
from simulation.networks import SLOT, heights, run_slots, started
from simulation.node import Node
from simulation.recipes import names
from simulation.toy_chain import authority_key
from simulation.world import SECOND, Setting, World
from yumad.consensus.block import Body
from yumad.consensus.effects import Build
from yumad.consensus.statement import Kind, Statement
from yumad.consensus.types import Hash32, View

# --- bad peers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Liar, Equivocator])
def test_provable_liar_is_left_out_of_the_next_set(kind: type[Node]) -> None:
    for seed in range(6):
        world = started(seed=seed, kinds={2: kind}, era_blocks=8)
        run_slots(world, 40)
        assert min(heights(world)) >= 16
        assert world.truth.evidence
        members = [member.key for member in world.honest[0].chain.context.authorities.members]
        assert authority_key(2) not in members


@pytest.mark.parametrize("kind", HONEST_BUT_ODD)
def test_peer_that_signs_nothing_twice_is_never_punished(kind: type[Node]) -> None:
    for seed in range(3):
        world = World(Setting(seed=seed, weights=equal(4), kinds={seed: kind}, era_blocks=6))
        world.network.loss = 0.1
        world.start()
        run_slots(world, 20)
        assert world.truth.evidence == 0
        assert min(heights(world)) >= 8


def test_honest_peers_under_faults_and_crashes_never_produce_evidence() -> None:
    for seed in range(10):
        outcome = play(Setting(seed=seed, weights=equal(4), era_blocks=5), ROUGH)
        assert outcome.world is not None
        assert outcome.world.truth.evidence == 0


def test_split_certificates_in_one_view_resume() -> None:
    """Half the network leaves each of a liar's views by a notarization, half by a nullification."""
    world = World(Setting(weights=equal(4), kinds={3: Liar}))

    def split(_s: Node, target: Node, _k: str, payload: Any) -> int:
        slow = Kind.NOTARIZE if target.position % 2 else Kind.NULLIFY
        return 7 * SECOND if names(payload, slow) else 0

    world.network.filter = split
    world.start()
    run_slots(world, 20)
    world.network.filter = None
    before = max(heights(world))
    run_slots(world, 12)
    assert min(heights(world)) >= before + 6


def test_withheld_body_is_never_notarised_and_costs_only_its_view() -> None:
    world = started(kinds={0: WithholdingLeader})
    run_slots(world, 30)
    finals = [world.blocks[name].header.proposer_index for name in world.truth.final.values()]
    assert 0 not in finals
    assert len(finals) >= 15


def test_relay_that_alters_body_bytes_on_all_links_but_one_hurts_no_block() -> None:
    world = World(Setting(weights=equal(4)))

    def alter(source: Node, target: Node, kind: str, payload: Any) -> Any:
        if kind not in ("proposal", "block") or (source.position, target.position) in ((0, 1), (1, 2), (2, 3), (3, 0)):
            return payload
        first, block = payload
        return first, replace(block, body=Body(block.body.certificate, block.body.evidence, (b"\x00\x00\x01",) * 9))

    world.network.rewrite = alter
    world.start()
    run_slots(world, 20)
    assert min(heights(world)) >= 12


def test_altered_arithmetic_stops_its_node_at_the_first_block_and_nobody_else() -> None:
    world = World(Setting(weights=equal(4)))
    world.nodes[2].is_drifting = True
    world.start()
    run_slots(world, 20)
    assert [position for _, position, _ in world.truth.halts] == [2]
    assert "own execution" in world.truth.halts[0][2]
    assert world.nodes[2].chain.finalised.height == 0
    assert min(world.nodes[n].chain.finalised.height for n in (0, 1, 3)) >= 12


class BombLeader(Node):
    """Its blocks take ten slots to execute, or make every executor raise."""

    raises = False

    def build(self, effect: Build) -> None:
        sealed = self.seal(effect.parent, effect, with_transactions=True)
        if sealed is not None:
            for node in self.world.nodes:
                if self.raises:
                    node.raises_on = sealed.hash
                else:
                    node.slow_on = sealed.hash
        super().build(effect)

    def _body(self, *arguments: Any, **named: Any) -> Body:
        return Body(None, (), (bytes([1, 2, self.position]),))


class RaisingLeader(BombLeader):
    raises = True


@pytest.mark.parametrize("kind", [BombLeader, RaisingLeader])
def test_leader_whose_blocks_burn_or_raise_costs_its_views_and_nobody_exits(kind: type[Node]) -> None:
    world = started(kinds={1: kind})
    run_slots(world, 30)
    assert not world.truth.halts
    finals = [world.blocks[name].header.proposer_index for name in world.truth.final.values()]
    assert 1 not in finals
    assert len(finals) >= 12


# --- eras -----------------------------------------------------------------------------------------------------------


def test_boundary_notarised_with_its_finalize_votes_lost_for_ten_slots_resumes() -> None:
    world = World(Setting(weights=equal(4), era_blocks=3))

    def lose(_s: Node, _t: Node, _k: str, payload: Any) -> int | None:
        return None if world.now < 14 * SLOT and any(s.parent_view >= 2 for s in names(payload, Kind.FINALIZE)) else 0

    world.network.filter = lose
    world.start()
    run_slots(world, 14)
    assert {node.chain.context.era for node in world.nodes} == {0}
    run_slots(world, 10)
    assert min(heights(world)) >= 10


def test_boundary_finality_given_to_two_of_four_and_kept_from_the_rest_for_five_slots_reaches_all() -> None:
    world = World(Setting(weights=equal(4), era_blocks=3))

    def keep(_s: Node, target: Node, kind: str, payload: Any) -> int | None:
        finals = [s for s in names(payload, Kind.FINALIZE) if s.era == 0 and s.parent_view >= 2]
        return None if (finals or kind == "range") and target.position >= 2 and world.now < 9 * SLOT else 0

    world.network.filter = keep
    world.start()
    run_slots(world, 6)
    assert [node.chain.context.era for node in world.nodes] == [1, 1, 0, 0]
    run_slots(world, 10)
    assert min(heights(world)) >= 8


def test_whole_set_replaced_shrunk_to_one_and_grown_again() -> None:
    sizes = [range(4), range(4, 8), range(8, 9), range(12)]
    world = started(
        members=range(12), era_blocks=4, weights=lambda era: dict.fromkeys(sizes[min(era, len(sizes) - 1)], 10)
    )
    run_slots(world, 24)
    assert min(heights(world)) >= 18
    assert {node.chain.context.era for node in world.nodes} == {4} or min(heights(world)) >= 18


@pytest.mark.parametrize("weights", [{0: 40, 1: 20, 2: 20, 3: 20}, {0: 70, 1: 10, 2: 10, 3: 10}])
def test_one_authority_above_a_third_or_two_thirds_is_live_with_it(weights: dict[int, int]) -> None:
    world = started(weights=lambda _: weights)
    run_slots(world, 10)
    assert min(heights(world)) >= 9


@pytest.mark.parametrize(
    ("members", "latency", "slots"), [(31, (20_000, 320_000), 24), (10, (50_000, 100_000), 40)], ids=["31", "10"]
)
def test_slow_members_of_a_healthy_network_are_never_ejected_as_idle(
    members: int, latency: tuple[int, int], slots: int
) -> None:
    world = World(
        Setting(members=range(members), weights=equal(members), latency=latency, era_blocks=12, ejects_idle=True)
    )
    if members == 10:
        world.network.filter = lambda source, target, _k, _p: 100_000 if 7 in (source.position, target.position) else 0
    world.start()
    run_slots(world, slots)
    context = world.nodes[0].chain.context
    assert context.era >= 1
    assert len(context.authorities.members) == members


def test_member_away_for_a_whole_era_is_ejected_only_above_the_least_set() -> None:
    for members, left in ((6, 5), (4, 4)):
        world = started(members=range(members), weights=equal(members), era_blocks=10, ejects_idle=True)
        world.run(0)
        world.nodes[2].power_off()
        while world.nodes[0].chain.context.era == 0:
            run_slots(world, 1)
        chain = world.nodes[0].chain
        assert len(chain.context.authorities.members) == left


# --- floods and followers -------------------------------------------------------------------------------------------


class Flooder(Liar):
    """A liar that also votes for a hundred views and blocks a second."""

    def in_view(self, view: View) -> None:
        era = self.engine.era
        for ahead in range(0, 100, 3):
            for salt in range(3):
                name = Hash32(bytes([ahead, salt]) * 16)
                self.say(Statement(Kind.NOTARIZE, era, View(view + ahead), View(view - 1), name), self.others)


def test_flood_of_votes_keeps_memory_bounded_and_blocks_coming() -> None:
    world = started(kinds={3: Flooder})
    run_slots(world, 25)
    assert min(heights(world)) >= 15
    assert max(node.engine.held_count[0] for node in world.honest) < 4 * 4 * 2 * 129


def test_two_hundred_followers_finalise_with_four_authorities_at_few_messages_each() -> None:
    world = started(followers=200)
    run_slots(world, 3)
    before = world.network.sent
    run_slots(world, 3)
    assert min(node.chain.finalised.height for node in world.nodes) >= 4
    assert (world.network.sent - before) / len(world.nodes) / 3 < 60


def test_late_joiner_during_a_partition_reaches_finality_across_eras() -> None:
    world = World(Setting(weights=equal(4), era_blocks=5, followers=1))
    late = world.nodes[4]
    for node in world.nodes[:4]:
        world.schedule(0, world._guarded, node.boot, (), node)
    run_slots(world, 13)
    world.network.groups = {0: 0, 1: 0, 2: 0, 3: 1, 4: 0}
    world.schedule(world.now, world._guarded, late.boot, (), late)
    run_slots(world, 6)
    assert late.chain.finalised.height >= max(heights(world)) - 1
    assert late.chain.context.era >= 2
