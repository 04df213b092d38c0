"""What an answer is worth, measured against text that only the validator has.

A judge writes itself a private text from the grammar, and measures on it what real answers look like: bits per
character, how much the words of an answer go with those of its question, how often they repeat. An answer is then held
against these: close to real text is full marks, and what a cheap trick reaches is zero.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from random import Random
from statistics import fmean
from types import MappingProxyType
from typing import Final

from char_model import CharModel
from grammar import Document, document
from word_model import joined, words_of

READ: Final = 280
"""Private documents the measure of language is trained on: some 120 kB."""
COUNTED: Final = 1200
"""Private documents in which words of questions and answers are counted together."""
HELD_OUT: Final = 60
"""Further ones on which the marks for real text are taken."""
REFERENCES: Final = 32
"""Questions an answer is held against besides its own."""

CHAR_ORDER: Final = 10
COMMON: Final = 0.2
"""Words in more than this share of answers say nothing about the topic."""
DOUBT: Final = 3.0
"""Made-up occurrences without any association, so that a rare pair proves little."""

LEAST_WORDS: Final = 40
"""A full answer."""
MOST_WORDS: Final = 48
"""What is asked for and read; more is no better."""
COPY_WORDS, ECHO_WORDS = 6, 3
"""Length of the word sequences by which copies, and echoes of the question, are looked for."""

ZERO_FLUENCY: Final = 0.35
"""Where fluency is zero, on the way from real text (0) to its shuffled words (1). A word model of order 2: 0.15."""

# Pairs: where a mark begins to rise or fall, and where it ends. Measured on 200 rounds, see tests/test_rounds.py.
RELEVANT: Final = (0.3, 0.65)
"""Of real text's margin: an answer to another question stays below the first 86 times of 100; most of the rest happen
to be of the right trade."""
VARIED: Final = (0.6, 0.85)
"""Of real text's share of distinct pairs."""
PUBLIC_SHARE: Final = (0.65, 0.95)
"""An honest model of order 3 repeats 40 % of its word sequences from the public text, a document from it 100 %."""
COPIED_SHARE: Final = (0.35, 0.6)
"""Of sequences that are not public."""
ECHO_SHARE: Final = (0.2, 0.4)


@dataclass(frozen=True, slots=True)
class Marks:
    """An answer's measures, each 0..1; its score is their product."""

    fluency: float
    """1 for the bits per character of real text, 0 for a third of the way to shuffled words."""
    relevance: float
    """Whether it goes with its own question rather than with others."""
    length: float
    variety: float
    """1 unless it repeats itself."""
    own_words: float
    """1 unless it repeats its question, the public text, or what was said before."""

    def score(self) -> float:
        """All of them together."""
        return self.fluency * self.relevance * self.length * self.variety * self.own_words


class Judge:
    """One validator's measures."""

    def __init__(self, rng: Random, public: Iterable[Document] = ()) -> None:
        """`rng` must be unknown to the miners; `public` is text that answers must not repeat."""
        written = [document(rng) for _ in range(COUNTED)]
        self._language = CharModel(" ".join(one.answer for one in written[:READ]), CHAR_ORDER)
        self._count(written)
        self._references = [self._known(document(rng).question) for _ in range(REFERENCES)]
        self._mean: dict[str, float] = {}
        self._public = {gram for one in public for gram in grams(words_of(one.answer))}
        real = [document(rng) for _ in range(HELD_OUT)]
        self._real_bits = fmean(self._language.bits(one.answer) for one in real)
        self._shuffled_bits = fmean(self._language.bits(_shuffled(one.answer, rng)) for one in real)
        self._real_margin = fmean(self.margin(one.question, words_of(one.answer)) for one in real)
        self._real_variety = fmean(_variety(words_of(one.answer)) for one in real)

    def _count(self, written: Sequence[Document]) -> None:
        together: dict[str, Counter[str]] = defaultdict(Counter)
        asked: Counter[str] = Counter()
        answered: Counter[str] = Counter()
        for one in written:
            answer = set(words_of(one.answer.lower()))
            answered.update(answer)
            for word in set(words_of(one.question.lower())):
                asked[word] += 1
                together[word].update(answer)
        limit = COMMON * len(written)
        self._usual = {word: count / len(written) for word, count in answered.items() if count <= limit}
        self._asked, self._together = asked, dict(together)

    def marks(self, question: str, text: str, before: Mapping[int, int] = MappingProxyType({})) -> Marks:
        """Measures of an answer by its first MOST_WORDS words. `before`: hashes of what was said in earlier rounds."""
        words = words_of(text)[:MOST_WORDS]
        if not words:
            return Marks(0.0, 0.0, 0.0, 0.0, 0.0)
        bits = self._language.bits(joined(words))
        worst = self._real_bits + ZERO_FLUENCY * (self._shuffled_bits - self._real_bits)
        said, asked = grams(words), grams(words_of(question), ECHO_WORDS)
        new = said - self._public
        copied = max(
            _between(_share(said, self._public), PUBLIC_SHARE),
            _between(len(new & before.keys()) / len(new) if new else 0.0, COPIED_SHARE),
            _between(_share(grams(words, ECHO_WORDS), asked), ECHO_SHARE),
        )
        return Marks(
            fluency=_clip((worst - bits) / (worst - self._real_bits)),
            relevance=_between(self.margin(question, words) / self._real_margin, RELEVANT),
            length=min(1.0, len(words) / LEAST_WORDS) ** 2,
            variety=_between(_variety(words) / self._real_variety, VARIED),
            own_words=1.0 - copied,
        )

    def fresh(self, text: str) -> set[int]:
        """Hashes of what an answer says that the public text does not."""
        return grams(words_of(text)[:MOST_WORDS]) - self._public

    def margin(self, question: str, words: Sequence[str]) -> float:
        """By how much an answer's words go better with its own question than with questions at large (log).

        Words of the question itself do not count, so that an echo proves nothing.
        """
        told = set(words_of(question.lower()))
        topical = sorted({word.lower() for word in words} & self._usual.keys() - told)
        if not topical:
            return 0.0
        asked = self._known(question)
        return fmean(self._association(asked, word) - self._at_large(word) for word in topical)

    def _association(self, asked: Sequence[str], word: str) -> float:
        """How much more often the word is in answers to questions with the likest of these words than usual (log)."""
        usual = self._usual[word]
        return max(
            (
                math.log((self._together[one].get(word, 0) + DOUBT * usual) / ((self._asked[one] + DOUBT) * usual))
                for one in asked
            ),
            default=0.0,
        )

    def _at_large(self, word: str) -> float:
        """Mean association with the reference questions."""
        if word not in self._mean:
            self._mean[word] = fmean(self._association(asked, word) for asked in self._references)
        return self._mean[word]

    def _known(self, question: str) -> list[str]:
        return sorted({word for word in words_of(question.lower()) if word in self._together})


def grams(words: Sequence[str], length: int = COPY_WORDS) -> set[int]:
    """Hashes of all sequences of so many words."""
    return {
        int.from_bytes(blake2b(" ".join(words[at : at + length]).encode(), digest_size=8).digest(), "little")
        for at in range(len(words) - length + 1)
    }


def _share(some: set[int], known: set[int]) -> float:
    return len(some & known) / len(some) if some else 0.0


def _variety(words: Sequence[str]) -> float:
    """Distinct pairs of words among all pairs."""
    pairs = list(pairwise(words))
    return len(set(pairs)) / len(pairs) if pairs else 0.0


def _clip(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def _between(value: float, ends: tuple[float, float]) -> float:
    """0 up to the first end, 1 from the second."""
    return _clip((value - ends[0]) / (ends[1] - ends[0]))


def _shuffled(text: str, rng: Random) -> str:
    words = words_of(text)
    rng.shuffle(words)
    return joined(words)
