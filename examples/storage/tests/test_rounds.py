"""200 rounds in memory: honest miners of several sizes beside every cheat we could think of, and what becomes of it."""

from __future__ import annotations

import random
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from keeper import CHUNKS_ASKED, Keeper
from manifest import State, load, save
from merkle import bond, challenged_chunks, prove, root_of
from placement import (
    Move,
    NewStripe,
    confirm,
    data_of,
    decide,
    new_stripe,
    opened,
    plan,
    rows_of,
    stripe_bytes,
)
from vault import CHUNKS, SHARD_BYTES

ROUNDS = 200
FULL = 64 * SHARD_BYTES


class Honest:
    """Keeps what it takes."""

    def __init__(self, name, rng, network, capacity=FULL, answers=1.0):
        self.key = bond("validator", name)
        self.rng, self.network, self.capacity, self.answers = rng, network, capacity, answers
        self.shards = {}

    def room(self):
        return self.capacity - len(self.shards) * SHARD_BYTES

    def put(self, shard, data):
        if self.room() < SHARD_BYTES:
            return None
        self.shards[shard] = data
        return root_of(data, self.key)

    def get(self, shard):
        return self.shards.get(shard)

    def drop(self, shard):
        self.shards.pop(shard, None)

    def proofs(self, shard, nonce):
        data = self.get(shard)
        return [] if data is None else prove(data, challenged_chunks(nonce, CHUNKS, CHUNKS_ASKED), self.key)

    def audit(self, challenges):
        if self.rng.random() > self.answers:
            return None
        return [self.proofs(challenge.shard, challenge.nonce) for challenge in challenges]


class Endless(Honest):
    """Says that it has room without end."""

    def room(self):
        return 1 << 50


class StoresNothing(Endless):
    def put(self, shard, data):
        return root_of(data, self.key)


class DropsAfterFirstAudit(Endless):
    def audit(self, challenges):
        answer = super().audit(challenges)
        for challenge in challenges:
            self.drop(challenge.shard)
        return answer


class KeepsHalfOfEachShard(Endless):
    def put(self, shard, data):
        self.shards[shard] = data[: SHARD_BYTES // 2] + bytes(SHARD_BYTES // 2)
        return root_of(data, self.key)


class KeepsEveryOtherShard(Endless):
    def put(self, shard, data):
        if self.rng.random() < 0.5:
            self.shards[shard] = data
        return root_of(data, self.key)


class SilentAboutWhatItLost(KeepsEveryOtherShard):
    def audit(self, challenges):
        return super().audit(challenges) if all(c.shard in self.shards for c in challenges) else None


class KeepsTwoOfMany(Endless):
    def put(self, shard, data):
        if len(self.shards) < 2:
            self.shards[shard] = data
        return root_of(data, self.key)


class ShowsOldProofs(Endless):
    """Keeps the proofs of the first audit of each shard in place of the shard."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.old = {}

    def proofs(self, shard, nonce):
        if shard not in self.old:
            self.old[shard] = super().proofs(shard, nonce)
            self.drop(shard)
        return self.old[shard]


class AsksItsNeighbour(Endless):
    """Stores nothing, and answers with what an honest miner holds of the same data."""

    def put(self, shard, data):
        return root_of(data, self.key)

    def proofs(self, shard, nonce):
        held = list(self.network["good_a"].shards.values())
        return prove(self.rng.choice(held), challenged_chunks(nonce, CHUNKS, CHUNKS_ASKED), self.key) if held else []


CHEATS = {
    "stores_nothing": StoresNothing,
    "drops_after_first_audit": DropsAfterFirstAudit,
    "keeps_half_of_each_shard": KeepsHalfOfEachShard,
    "keeps_every_other_shard": KeepsEveryOtherShard,
    "silent_about_what_it_lost": SilentAboutWhatItLost,
    "keeps_two_of_many": KeepsTwoOfMany,
    "shows_old_proofs": ShowsOldProofs,
    "asks_its_neighbour": AsksItsNeighbour,
}


def one_round(keeper, miners, rng, data=None):
    """What the plugin does in a round, with miners in memory instead of calls. `data`: id -> bytes of new stripes."""
    for name in miners:
        keeper.state.miner(name)
    for step in plan(keeper, rng):
        if isinstance(step, NewStripe):
            content = rng.randbytes(stripe_bytes(len(step.hotkeys)))
            stripe_id = new_stripe(keeper, content, len(step.hotkeys), rng)
            if data is not None:
                data[stripe_id] = content
            rows = rows_of(keeper.state.stripes[stripe_id], content)
            steps = [Move(stripe_id, index, hotkey) for index, hotkey in enumerate(step.hotkeys)]
        else:
            rows = fetched(keeper, miners, step.stripe)
            steps = [step] if rows is not None else []
        for move in steps:
            sealed = decide(keeper, move, rows)
            shard = keeper.shard_id(move.stripe, move.index, move.hotkey)
            confirm(keeper, move, miners[move.hotkey].put(shard, sealed) if move.hotkey in miners else None)
    keeper.forget_lost_stripes()
    asked = keeper.challenges(miners, rng)
    for name, standing in list(keeper.state.miners.items()):
        answer = miners[name].audit(asked[name]) if name in miners else None
        if answer is not None:
            standing.room = miners[name].room()
            for shard in standing.drops:
                miners[name].drop(bytes.fromhex(shard))
            standing.drops.clear()
        keeper.judge(name, asked.get(name, []), answer)
    return keeper.scores()


def fetched(keeper, miners, stripe_id):
    stripe, known = keeper.state.stripes[stripe_id], {}
    for index, shard in stripe.live().items():
        sealed = (
            miners[shard.hotkey].get(keeper.shard_id(stripe_id, index, shard.hotkey))
            if shard.hotkey in miners
            else None
        )
        row = opened(keeper, stripe_id, index, sealed) if sealed is not None else None
        if row is not None and len(known) < stripe.k:
            known[index] = row
    return known if len(known) == stripe.k else None


def honest_network(rng, count=6):
    miners = {}
    miners.update({f"good_{letter}": Honest(f"good_{letter}", rng, miners) for letter in "abcdefghij"[:count]})
    return miners


@pytest.fixture(scope="module")
def played():
    """Mean score by miner over all rounds, and the keeper."""
    rng = random.Random(21)
    miners = honest_network(rng, 4)
    miners["weak"] = Honest("weak", rng, miners, capacity=4 * SHARD_BYTES)
    miners["lazy"] = Honest("lazy", rng, miners, capacity=3 * SHARD_BYTES, answers=0.83)
    miners["bad_line"] = Honest("bad_line", rng, miners, answers=0.98)
    miners |= {name: cheat(name, rng, miners) for name, cheat in CHEATS.items()}
    keeper, total = Keeper(State("17" * 32), "validator"), Counter()
    for _ in range(ROUNDS):
        total.update(one_round(keeper, miners, rng))
    return {name: value / ROUNDS for name, value in total.items()}, keeper


def test_equal_miners_earn_equally_within_a_tenth(played):
    earned, _ = played
    good = [earned[f"good_{letter}"] for letter in "abcd"]
    assert max(good) / min(good) < 1.1
    assert min(good) > 0.85


def test_more_bytes_and_more_answers_earn_more(played):
    earned, _ = played
    assert earned["good_a"] > 1.5 * earned["weak"] > 1.5 * 1.2 * earned["lazy"] > 0


def test_lost_answers_cost_little_more_than_their_share(played):
    earned, _ = played
    assert earned["bad_line"] > 0.9 * earned["good_a"]


@pytest.mark.parametrize("cheat", CHEATS)
def test_cheat_earns_less_than_a_twentieth_of_an_honest_miner(played, cheat):
    earned, _ = played
    assert earned[cheat] < 0.05 * earned["good_b"]


def test_stripes_survive_the_death_of_any_miner_and_are_whole_again(tmp_path):
    rng, data = random.Random(22), {}
    miners = honest_network(rng)
    keeper = Keeper(State("17" * 32), "validator")
    for _ in range(40):
        one_round(keeper, miners, rng, data)
    before = set(keeper.state.stripes)
    gone = miners.pop("good_c")
    assert gone.shards
    for _ in range(40):
        one_round(keeper, miners, rng, data)
    assert before <= set(keeper.state.stripes)
    for stripe_id, stripe in keeper.state.stripes.items():
        assert "good_c" not in stripe.holders()
        assert len(stripe.live()) >= 4
        assert data_of(stripe, fetched(keeper, miners, stripe_id)) == data[stripe_id]


def test_shards_of_a_miner_that_left_the_subnet_are_made_again_at_once():
    rng = random.Random(23)
    miners = honest_network(rng)
    keeper = Keeper(State("17" * 32), "validator")
    for _ in range(30):
        one_round(keeper, miners, rng)
    del miners["good_a"]
    keeper.leave_out_absent(miners)
    assert "good_a" not in keeper.state.miners
    for _ in range(5):
        one_round(keeper, miners, rng)
    assert all(len(stripe.live()) >= 4 for stripe in keeper.state.stripes.values())


def test_altered_shard_is_not_used_for_repair():
    rng = random.Random(24)
    miners = honest_network(rng)
    keeper = Keeper(State("17" * 32), "validator")
    for _ in range(10):
        one_round(keeper, miners, rng)
    stripe_id, stripe = next(iter(keeper.state.stripes.items()))
    index, shard = next(iter(stripe.live().items()))
    sealed = miners[shard.hotkey].get(keeper.shard_id(stripe_id, index, shard.hotkey))
    assert opened(keeper, stripe_id, index, sealed) is not None
    assert opened(keeper, stripe_id, index, bytes([sealed[0] ^ 1]) + sealed[1:]) is None
    assert opened(keeper, stripe_id, index, b"") is None


def test_state_survives_a_restart_and_unconfirmed_shards_do_not(tmp_path):
    rng = random.Random(25)
    miners = honest_network(rng)
    keeper = Keeper(State("17" * 32), "validator")
    for _ in range(20):
        one_round(keeper, miners, rng)
    file = tmp_path / "manifest.json"
    save(keeper.state, file)
    assert load(file) == keeper.state
    assert file.stat().st_mode & 0o777 == 0o600
    stripe_id, stripe = next(iter(keeper.state.stripes.items()))
    decide(keeper, Move(stripe_id, 200, "good_a"), rows_of(stripe, b""))
    save(keeper.state, file)  # the process ends here, before the put
    again = Keeper(load(file), "validator")
    assert 200 not in again.state.stripes[stripe_id].shards
    assert again.state.miners["good_a"].drops[-1] == keeper.shard_id(stripe_id, 200, "good_a").hex()
    for _ in range(10):
        scores = one_round(again, miners, rng)
    assert min(scores.values()) == 1.0


def test_state_of_another_schema_is_refused(tmp_path):
    (tmp_path / "manifest.json").write_text('{"schema": 99}')
    with pytest.raises(ValueError, match="schema"):
        load(tmp_path / "manifest.json")
