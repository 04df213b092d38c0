"""From a round's answers to scores: each by its own marks, then against the others and what was said before."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from judging import COPIED_SHARE, Judge, Marks
from word_model import words_of

REMEMBERED: Final = 2000
"""Answers of earlier rounds that are looked through for repetitions: some 80,000 numbers."""


class Examiner:
    """A judge with a memory."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._said: deque[set[int]] = deque()
        self._before: Counter[int] = Counter()
        self._relevance: dict[str, float] = {}

    def scores(self, questions: Mapping[str, str], answers: Mapping[str, str]) -> dict[str, float]:
        """Hotkey -> 0..1 for every question asked."""
        given = self.marks(questions, answers)
        return {hotkey: given[hotkey].score() if hotkey in given else 0.0 for hotkey in questions}

    def marks(self, questions: Mapping[str, str], answers: Mapping[str, str]) -> dict[str, Marks]:
        """Marks of this round's answers, which are remembered from now on.

        Relevance is the lesser of this round's and the last one's: a fluent answer that ignores its question fits one
        of twelve by chance, but seldom two in a row.
        """
        given = {hotkey: self._judge.marks(questions[hotkey], text, self._before) for hotkey, text in answers.items()}
        said = {hotkey: self._judge.fresh(text) for hotkey, text in answers.items()}
        for hotkey in self._copiers(questions, answers, said):
            given[hotkey] = replace(given[hotkey], own_words=0.0)
        for hotkey in questions:
            now = given[hotkey].relevance if hotkey in given else 0.0
            if hotkey in given:
                given[hotkey] = replace(given[hotkey], relevance=min(now, self._relevance.get(hotkey, 0.0)))
            self._relevance[hotkey] = now
        for grams in said.values():
            self._remember(grams)
        return given

    def _copiers(
        self, questions: Mapping[str, str], answers: Mapping[str, str], said: Mapping[str, set[int]]
    ) -> set[str]:
        """Of two answers that share too much, the one that goes less well with its own question than the other's does
        with that other's: so nobody is harmed by being copied."""
        copiers = set()
        owners: dict[int, list[str]] = {}
        for hotkey, grams in said.items():
            for gram in grams:
                owners.setdefault(gram, []).append(hotkey)
        shared = Counter(
            (one, other) for hotkeys in owners.values() for one in hotkeys for other in hotkeys if one != other
        )
        for (one, other), count in shared.items():
            if count > COPIED_SHARE[0] * len(said[one]) and self._fit(one, questions, answers) <= self._fit(
                other, questions, answers
            ):
                copiers.add(one)
        return copiers

    def _fit(self, hotkey: str, questions: Mapping[str, str], answers: Mapping[str, str]) -> float:
        return self._judge.margin(questions[hotkey], words_of(answers[hotkey]))

    def _remember(self, grams: set[int]) -> None:
        self._said.append(grams)
        self._before.update(grams)
        if len(self._said) > REMEMBERED:
            for gram in self._said.popleft():
                self._before[gram] -= 1
                if self._before[gram] <= 0:
                    del self._before[gram]
