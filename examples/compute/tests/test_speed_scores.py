"""200 rounds in memory: what each cheat earns beside honest miners, with made-up but noisy times."""

from __future__ import annotations

import random
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from products import MODULUS, chain, is_product, multiply
from sorting import is_sorted_copy, numbers, sort
from speed_scores import Answered, job_seed, speed_scores

ROUNDS = 200
SIZE, LENGTH, COUNT = 16, 4, 257


def test_wrong_or_missing_answers_earn_nothing_however_fast():
    scores = speed_scores({"right": Answered(True, 0.5), "wrong": Answered(False, 0.001)})
    assert scores == {"right": 1.0, "wrong": 0.0}


def test_nobody_right_gives_zeros():
    assert speed_scores({"a": Answered(False, 0.1), "b": Answered(False, 0.2)}) == {"a": 0.0, "b": 0.0}


def test_jobs_differ_by_miner_validator_and_round():
    seeds = {
        job_seed(bytes([salt]) * 32, validator, miner)
        for salt in range(20)
        for validator in ("v", "w")
        for miner in ("a", "b", "c")
    }
    assert len(seeds) == 120


def zeros(job, kind, rng, past):
    return multiply(chain(job, SIZE, LENGTH)) * 0 if kind == "product" else sort(numbers(job, COUNT)) * 0


def guess(job, kind, rng, past):
    return right(bytes(rng.randrange(256) for _ in range(16)), kind, rng, past)


def one_wrong_entry(job, kind, rng, past):
    answer = right(job, kind, rng, past)
    place = rng.randrange(answer.size - 1)
    answer.flat[place] = (int(answer.flat[place]) + 1) % MODULUS if kind == "product" else answer.flat[place + 1]
    return answer


def replay(job, kind, rng, past):
    return past.get(kind)


def half_the_work(job, kind, rng, past):
    if kind == "product":
        return multiply(chain(job, SIZE, LENGTH)[: LENGTH // 2])
    return sort(numbers(job, COUNT)[: COUNT // 2].repeat(2)[:COUNT])


def right(job, kind, rng, past):
    return multiply(chain(job, SIZE, LENGTH)) if kind == "product" else sort(numbers(job, COUNT))


CHEATS = {
    "zeros": zeros,
    "random": guess,
    "one_wrong_entry": one_wrong_entry,
    "replay": replay,
    "half_the_work": half_the_work,
}


@pytest.fixture(scope="module")
def earned():
    """Mean score by miner over all rounds. Everyone has the same distance: 2 ms and an exponential rest of 5 ms."""
    rng = random.Random(7)
    total: Counter[str] = Counter()
    past: dict[str, object] = {}
    compute = {"good_a": 0.006, "good_b": 0.006, "good_c": 0.006, "weak": 0.030, "lazy": 0.256}
    for _ in range(ROUNDS):
        salt, kind = rng.randbytes(32), "product" if rng.random() < 0.75 else "sort"
        answers = {}
        for name in [*compute, *CHEATS, "copier"]:
            job = job_seed(salt, "validator", name)
            if name == "copier":  # sends what good_a sends, as if it had been listening
                answer = right(job_seed(salt, "validator", "good_a"), kind, rng, past)
            else:
                answer = CHEATS.get(name, right)(job, kind, rng, past)
            if kind == "product":
                correct = is_product(answer, chain(job, SIZE, LENGTH), rng)
            else:
                correct = is_sorted_copy(answer, numbers(job, COUNT), rng)
            if name == "good_a":
                past[kind] = answer
            time = compute.get(name, 0.0) * rng.lognormvariate(0, 0.2)
            answers[name] = Answered(correct, time + 0.002 + rng.expovariate(200))
        total.update(speed_scores(answers))
    return {name: value / ROUNDS for name, value in total.items()}


def test_equal_miners_earn_equally_within_a_tenth(earned):
    good = [earned[name] for name in ("good_a", "good_b", "good_c")]
    assert max(good) / min(good) < 1.1
    assert min(good) > 0.8


def test_slower_miners_earn_less(earned):
    assert earned["good_a"] > 1.3 * earned["weak"] > 1.3 * 2 * earned["lazy"] > 0


@pytest.mark.parametrize("cheat", [*CHEATS, "copier"])
def test_cheat_earns_less_than_a_twentieth_of_an_honest_miner(earned, cheat):
    assert earned.get(cheat, 0.0) < 0.05 * earned["good_a"]
