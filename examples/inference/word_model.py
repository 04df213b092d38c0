"""The miner's language model: an n-gram model of words that reads up on the question before it answers.

It is trained on question-and-answer documents. Asked something, it looks for the documents whose answers
hold the rarest words of the question, and lets what stands in those weigh more: that is what makes an answer belong
to its question. Words are drawn one by one with the caller's seed.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from grammar import Document

_WORDS: Final = re.compile(r"[A-Za-z]+|[.,]")
_START: Final = "^"

SHARED_WORDS: Final = 12
"""Words that the likest documents share and that are looked for in a second reading: a question of two rare words then
finds their trade rather than one person's name."""

Table = dict[tuple[str, ...], Counter[str]]


class WordModel:
    """Counts of words after up to `order` - 1 words before."""

    def __init__(self, documents: Sequence[Document], *, order: int = 3, near: int = 8, doubt: float = 0.1) -> None:
        """`near`: documents read up on for a question. `doubt`: how readily a rare context falls back to a shorter one,
        0 never, 1 often (Witten-Bell)."""
        self._order, self._near, self._doubt = order, near, doubt
        self._answers = [words_of(document.answer) for document in documents]
        self._bags = [set(words_of(document.answer.lower())) for document in documents]
        seen = Counter(word for bag in self._bags for word in bag)
        self._rarity = {word: math.log(len(documents) / count) ** 2 for word, count in seen.items()}
        self._all = self._counted(self._answers)

    def words(self, question: str, seed: int, limit: int) -> Iterator[str]:
        """An answer of at most `limit` words, as they are drawn; the last sentence is ended if there is room for it."""
        rng = random.Random(seed)
        near = self._counted(self._nearest(question))
        history = (_START,) * (self._order - 1)
        for count in range(limit):
            word = self._draw(near, history, rng)
            yield word
            history = (*history, word)[1:] if self._order > 1 else ()
            if word == "." and count > limit - 8:
                return

    def answer(self, question: str, seed: int, limit: int) -> str:
        """The same as text."""
        return joined(self.words(question, seed, limit))

    def _draw(self, near: Table, history: tuple[str, ...], rng: random.Random) -> str:
        for length in range(len(history), -1, -1):
            context = history[len(history) - length :]
            for table in (near, self._all):
                following = table.get(context)
                if following is None:
                    continue
                total = following.total()
                if length == 0 or rng.random() * (total + self._doubt * len(following)) < total:
                    return rng.choices(list(following), list(following.values()))[0]
        raise AssertionError("the empty context follows every word")

    def _nearest(self, question: str) -> list[list[str]]:
        """Answers to read up on: likest to the question, then likest to what the first ones have in common."""
        weights = {word: self._rarity.get(word, 0.0) for word in words_of(question.lower())}
        first = self._likest(weights)[: 2 * self._near]
        shared = Counter(word for place in first for word in self._bags[place])
        worth = {word: (count - 1) * self._rarity[word] / len(first) for word, count in shared.items()}
        for word in sorted(worth, key=lambda word: (worth[word], word), reverse=True)[:SHARED_WORDS]:
            weights[word] = weights.get(word, 0.0) + worth[word]
        return [self._answers[place] for place in self._likest(weights)[: self._near]]

    def _likest(self, weights: Mapping[str, float]) -> list[int]:
        likeness = [sum(weight for word, weight in weights.items() if word in bag) for bag in self._bags]
        return sorted(range(len(likeness)), key=likeness.__getitem__, reverse=True)

    def _counted(self, answers: Sequence[Sequence[str]]) -> Table:
        table: Table = defaultdict(Counter)
        for answer in answers:
            padded = (_START,) * (self._order - 1) + tuple(answer)
            for place in range(self._order - 1, len(padded)):
                for length in range(self._order):
                    table[padded[place - length : place]][padded[place]] += 1
        return dict(table)


def words_of(text: str) -> list[str]:
    """Words, commas and full stops."""
    return _WORDS.findall(text)


def joined(words: Iterator[str] | Sequence[str]) -> str:
    """Words as text."""
    return " ".join(words).replace(" .", ".").replace(" ,", ",")
