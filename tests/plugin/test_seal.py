"""Sealed answers cannot be copied between miners (AXON R30)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
from yumad import Result, Round, Sealed, Status, Subnet, Task, Validator
from yumad.plugin.seal import CHALLENGE_BYTES, KeptAnswers, opens, seal_of
from yumad.plugin.testing.swarm import Swarm


@dataclass
class Ask:
    number: int


@dataclass
class Answer:
    number: int


def subnet_with(sealed: Any) -> tuple[Subnet, type[Validator]]:
    subnet = Subnet("guess")

    @subnet.method(timeout=4.0, sealed=sealed)
    async def guess(request: Ask) -> Answer:
        return Answer(request.number + 1)

    class Guess(Validator):
        def task(self, round: Round) -> Task | None:
            return Task(guess, Ask(41))

        def score(self, round: Round, task: Task, results: list[Result]) -> dict[str, float]:
            self.results = results
            return {r.hotkey: float(r.ok and r.reply.number == 42) for r in results}

    return subnet, Guess


@pytest.mark.parametrize("wire", [False, True])
async def test_r30_honest_miners_are_paid_and_a_copier_is_not_when_answers_are_sealed(
    wire: bool, tmp_path: Path, yumad_clock: object
) -> None:
    subnet, guess = subnet_with(Sealed(open_timeout=2.0))
    async with Swarm.of(subnet, tmp_path, validator=guess, miners=2, adversaries={"copy": 2}, wire=wire) as swarm:
        await swarm.rounds(1)
        scores = swarm.scores()
        results = {r.hotkey: r for r in swarm.validators[0].run.validator.results}  # type: ignore[union-attr, attr-defined]
    assert scores["miner/0"] == scores["miner/1"] == 0.1
    assert scores["copy/0"] == scores["copy/1"] == 0.0
    copied = results[swarm.node("copy/0").hotkey]
    assert copied.status is Status.BAD_REPLY and "committed" in copied.text


async def test_r30_the_same_copier_is_paid_when_answers_are_open(tmp_path: Path, yumad_clock: object) -> None:
    subnet, guess = subnet_with(False)
    async with Swarm.of(subnet, tmp_path, validator=guess, miners=2, adversaries={"copy": 2}) as swarm:
        await swarm.rounds(1)
        assert swarm.scores()["copy/0"] == 0.1


async def test_r30_nothing_is_opened_before_every_commit_is_in(tmp_path: Path, yumad_clock: object) -> None:
    subnet, guess = subnet_with(True)
    events: list[tuple[float, str]] = []
    async with Swarm.of(
        subnet, tmp_path, validator=guess, miners=2, adversaries={"late": 1},
        tap=lambda c, r, method, b, result: events.append((trio.current_time(), method.name)),
    ) as swarm:  # fmt: skip
        await swarm.rounds(1)
        assert swarm.scores() == {"miner/0": 0.1, "miner/1": 0.1, "late/0": 0.0}
    names = [name for _, name in events]
    assert names == ["guess.commit"] * 3 + ["guess.open"] * 2


def test_r30_seal_opens_only_for_its_miner_validator_and_challenge() -> None:
    salt, challenge = bytes(32), bytes(CHALLENGE_BYTES)
    seal = seal_of(challenge, "validator", "miner", salt, b"answer")
    assert opens(seal, challenge, "validator", "miner", salt + b"answer") == b"answer"
    assert opens(seal, challenge, "validator", "copier", salt + b"answer") is None
    assert opens(seal, challenge, "other", "miner", salt + b"answer") is None
    assert opens(seal, b"x" * CHALLENGE_BYTES, "validator", "miner", salt + b"answer") is None
    assert opens(seal, challenge, "validator", "miner", salt + b"answerx") is None
    assert opens(seal, challenge, "validator", "miner", salt[:5]) is None


def test_r30_kept_answers_are_bounded_expire_and_are_shown_to_their_validator_only() -> None:
    now = [0.0]
    kept = KeptAnswers(Sealed(keep=10.0, max_kept=2), lambda: now[0])
    for number in range(3):
        kept.commit(bytes([number]) * 16, "v", "m", b"answer")
    assert len(kept) == 2
    assert kept.show(bytes([0]) * 16, "v") is None
    shown = kept.show(bytes([2]) * 16, "v")
    assert shown is not None and shown == kept.show(bytes([2]) * 16, "v")
    assert kept.show(bytes([2]) * 16, "w") is None
    now[0] = 10.5
    assert kept.show(bytes([2]) * 16, "v") is None
    assert len(kept) == 0
