"""The text, the two models, and the judge's single marks."""

from __future__ import annotations

import math
import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from char_model import ALPHABET, CharModel
from grammar import PUBLIC_DOCUMENTS, as_text, document, documents, from_text
from judging import Judge
from word_model import WordModel, joined, words_of

PUBLIC = from_text((Path(__file__).resolve().parents[1] / "corpus.txt").read_text("utf-8"))
GOOD = WordModel(PUBLIC)


@pytest.fixture(scope="module")
def judge():
    return Judge(random.Random(3), PUBLIC)


def test_public_text_is_what_the_grammar_writes():
    assert documents("public", PUBLIC_DOCUMENTS) == PUBLIC
    assert 100_000 < len(as_text(PUBLIC)) < 130_000


def test_text_without_question_lines_is_refused():
    with pytest.raises(ValueError, match="expected lines"):
        from_text("Q: who\nanswer\n")


def test_probabilities_after_any_context_sum_to_one():
    text = "abracadabra alakazam"
    model = CharModel(text, order=4)
    seen = sorted(set(text))
    for context in ("abra", "zzz", "", "kaz"):
        known = sum(2 ** -model.bits(character, before=context) for character in seen)
        unknown = (ALPHABET - len(seen)) * 2 ** -model.bits("#", before=context)
        assert known + unknown == pytest.approx(1.0)


def test_no_text_costs_nothing_and_unknown_characters_cost_much():
    model = CharModel("the cat sat on the mat. " * 20)
    assert model.bits("") == 0.0
    assert model.bits("the cat") < 1.0 < math.log2(ALPHABET) < model.bits("#####")


def test_answers_repeat_for_a_seed_and_differ_between_seeds():
    question = document(random.Random(1)).question
    assert GOOD.answer(question, 5, 48) == GOOD.answer(question, 5, 48) != GOOD.answer(question, 6, 48)


def test_answers_keep_to_the_limit_and_end_with_a_sentence():
    for seed in range(30):
        words = words_of(GOOD.answer("What did the baker do?", seed, 48))
        assert len(words) <= 48
    assert len(words_of(GOOD.answer("", 1, 3))) == 3


def test_question_of_unknown_words_is_answered_all_the_same():
    assert GOOD.answer("Xyzzy?", 1, 48)


def test_fresh_real_text_gets_nearly_full_marks(judge):
    marks = [judge.marks(one.question, one.answer) for one in documents("fresh", 80)]
    for name in ("fluency", "relevance", "length", "variety", "own_words"):
        assert sum(getattr(one, name) for one in marks) / len(marks) > 0.85, name


def test_each_mark_finds_its_own_fault(judge):
    one, other = documents("faults", 2)
    shuffled = words_of(one.answer)
    random.Random(1).shuffle(shuffled)
    assert judge.marks(one.question, joined(shuffled)).fluency == 0.0
    assert judge.marks(one.question, other.answer).relevance == 0.0
    assert judge.marks(one.question, " ".join(one.answer.split()[:10])).length < 0.1
    assert judge.marks(one.question, "The baker was proud. " * 12).variety == 0.0
    assert judge.marks(PUBLIC[3].question, PUBLIC[3].answer).own_words == 0.0
    assert judge.marks(one.question, one.question * 5).own_words == 0.0
    before = dict.fromkeys(judge.fresh(one.answer), 1)
    assert judge.marks(one.question, one.answer, before).own_words == 0.0
    assert judge.marks(one.question, "").score() == 0.0


def test_unreadable_answers_get_no_marks_and_no_error(judge):
    for text in ("\0" * 1000, "🙂" * 500, "1234 5678", "A" * 100_000, ", . , ."):
        assert judge.marks("Why was the oven so warm?", text).score() == 0.0
