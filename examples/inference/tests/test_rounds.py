"""200 rounds in memory: honest models of several strengths beside every cheat we could think of."""

from __future__ import annotations

import random
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from answer_scores import Examiner
from grammar import TRADES, document, from_text
from judging import Judge
from word_model import WordModel, joined

ROUNDS = 200
PUBLIC = from_text((Path(__file__).resolve().parents[1] / "corpus.txt").read_text("utf-8"))
GOOD = WordModel(PUBLIC)
WEAK = WordModel(PUBLIC, order=2, near=24, doubt=0.5)
POOL = [GOOD.answer(f"{trade.things[0]} {trade.people[0]}", 1, 48) for trade in TRADES.values()]


def trade_of(question):
    return max(
        range(len(POOL)),
        key=lambda place: sum(
            word in question for word in (*list(TRADES.values())[place].things, *list(TRADES.values())[place].people)
        ),
    )


def word_salad(question, rng):
    """Words of the right trade in any order."""
    trade = list(TRADES.values())[trade_of(question)]
    words = " ".join((*trade.things, *trade.verbs, *trade.people, *trade.qualities)).split()
    return joined([rng.choice(words) for _ in range(47)]) + "."


HONEST = {"good_a": GOOD, "good_b": GOOD, "good_c": GOOD, "weak": WEAK}
CHEATS = {
    "one_ready_answer": lambda question, rng: PUBLIC[0].answer,
    "pool_at_random": lambda question, rng: rng.choice(POOL),
    "pool_by_keyword": lambda question, rng: POOL[trade_of(question)],
    "answers_another_question": lambda question, rng: GOOD.answer(document(rng).question, rng.getrandbits(32), 48),
    "nearest_public_answer": lambda question, rng: joined(GOOD._nearest(question)[0]),
    "echo": lambda question, rng: (question.rstrip("?") + ". ") * 6,
    "one_sentence_again_and_again": lambda question, rng: (GOOD.answer(question, rng.getrandbits(32), 8) + " ") * 8,
    "word_salad": word_salad,
    "five_words": lambda question, rng: " ".join(GOOD.answer(question, rng.getrandbits(32), 48).split()[:5]),
    "letters": lambda question, rng: "".join(rng.choice("etaoin shrdlu ") for _ in range(250)),
    "nothing": lambda question, rng: "",
}


@pytest.fixture(scope="module")
def earned():
    """Mean score by miner."""
    rng = random.Random(11)
    examiner = Examiner(Judge(random.Random(12), PUBLIC))
    total = Counter()
    for _ in range(ROUNDS):
        questions = {name: document(rng).question for name in [*HONEST, *CHEATS, "lazy", "copier"]}
        answers = {name: model.answer(questions[name], rng.getrandbits(32), 48) for name, model in HONEST.items()}
        answers |= {name: cheat(questions[name], rng) for name, cheat in CHEATS.items()}
        answers["lazy"] = GOOD.answer(questions["lazy"], rng.getrandbits(32), 12)
        answers["copier"] = answers["good_a"]
        total.update(examiner.scores(questions, answers))
    return {name: value / ROUNDS for name, value in total.items()}


def test_equal_models_earn_equally_within_a_tenth(earned):
    good = [earned[name] for name in ("good_a", "good_b", "good_c")]
    assert max(good) / min(good) < 1.1
    assert min(good) > 0.4


def test_better_models_and_whole_answers_earn_more(earned):
    assert earned["good_a"] > 2 * earned["weak"] > 2 * earned["lazy"] > 0


@pytest.mark.parametrize("cheat", [*CHEATS, "copier"])
def test_cheat_earns_less_than_a_twentieth_of_an_honest_miner(earned, cheat):
    assert earned[cheat] < 0.05 * earned["good_b"]
