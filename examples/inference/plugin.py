"""A subnet that pays for good answers of a small language model (see README.md).

Validators ask for free. So does every holder of MIN_STAKE; others are refused with 26, low stake.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from random import Random

import trio
import trio.lowlevel
from answer_scores import Examiner
from grammar import Document, document, from_text
from judging import MOST_WORDS, Judge
from word_model import WordModel
from yumad import Policy, Quota, Result, Round, Subnet, Task, Validator, WindowMean

subnet = Subnet("inference", version=1)

EXPECTED_ORDER = ("good", "weak", "lazy", "cheat")
"""Variants of the miner from best to worst, as the incentive must order them."""

MIN_STAKE = 1_000_000_000
"""rao of stake in the subnet that let a holder without a uid ask."""

OPEN_TO_HOLDERS = Policy(require_permit=False, min_stake=MIN_STAKE, quota=Quota(rate=5.0, burst=20))

MAX_PROMPT, MAX_WORDS = 2000, 200
"""Characters of a prompt, words of an answer."""


@dataclass
class Ask:
    """A question, the seed words are drawn with, and how long the answer may be."""

    prompt: str
    seed: int = 0
    max_words: int = MOST_WORDS


@dataclass
class Answer:
    text: str


@dataclass
class Token:
    """One word of an answer, with the space before it."""

    text: str


@cache
def public_documents() -> tuple[Document, ...]:
    """The text that everybody has."""
    return tuple(from_text((Path(__file__).parent / "corpus.txt").read_text("utf-8")))


@cache
def good_model() -> WordModel:
    """Three words at a time, from the documents that fit the question best."""
    return WordModel(public_documents())


@cache
def weak_model() -> WordModel:
    """Two words at a time, from twice as many documents."""
    return WordModel(public_documents(), order=2, near=24, doubt=0.5)


@subnet.on_start
def load() -> None:
    """Train before the first call."""
    good_model()


def answered(model: WordModel, request: Ask, most: int = MAX_WORDS) -> Answer:
    """An answer within the limits."""
    words = max(1, min(request.max_words, most))
    return Answer(model.answer(request.prompt[:MAX_PROMPT], request.seed, words))


@subnet.method(timeout=10.0, max_body=16_384, max_reply=65_536, policy=OPEN_TO_HOLDERS, idempotent=True)
def ask(request: Ask) -> Answer:
    return answered(good_model(), request)


@subnet.method(timeout=30.0, max_body=16_384, max_reply=65_536, policy=OPEN_TO_HOLDERS)
async def chat(request: Ask) -> AsyncIterator[Token]:
    """The same answer, word by word."""
    words = good_model().words(request.prompt[:MAX_PROMPT], request.seed, max(1, min(request.max_words, MAX_WORDS)))
    for place, word in enumerate(words):
        yield Token(word if place == 0 or word in ".," else f" {word}")
        await trio.lowlevel.checkpoint()


class Inference(Validator):
    """Asks every miner another question, and holds the answers against text that only this validator has."""

    interval = 2.0
    sample = 16
    aggregator = WindowMean(64)  # single answers differ much, so that a long mean is needed

    def __init__(self) -> None:
        self._examiner: Examiner | None = None

    async def task(self, round: Round) -> Task:
        if self._examiner is None:
            self._examiner = Examiner(Judge(set_apart(round.rng), public_documents()))
        rng = set_apart(round.rng)
        requests = {miner.hotkey: Ask(document(rng).question, rng.getrandbits(32)) for miner in round.miners}
        return Task(ask, requests, timeout=5.0)

    def score(self, round: Round, task: Task, results: list[Result]) -> dict[str, float]:
        assert self._examiner is not None
        questions = {hotkey: request.prompt for hotkey, request in task.request.items()}
        return self._examiner.scores(questions, {result.hotkey: result.reply.text for result in results if result.ok})


def set_apart(rng: Random) -> Random:
    """A generator of its own behind a hash: what miners see of it tells nothing about `rng`."""
    return Random(blake2b(rng.randbytes(32)).digest())


# The miners of EXPECTED_ORDER, for simulations and swarms; "good" is what runs when none is named.


@ask.variant("good")
def ask_good(request: Ask) -> Answer:
    return answered(good_model(), request)


@ask.variant("weak")
def ask_weak(request: Ask) -> Answer:
    """A model that looks at one word before, not two."""
    return answered(weak_model(), request)


@ask.variant("lazy")
def ask_lazy(request: Ask) -> Answer:
    """A good model that stops early."""
    return answered(good_model(), request, most=12)


@ask.variant("cheat")
def ask_cheat(request: Ask) -> Answer:
    """No model: one of a dozen ready answers, fluent and beside the point."""
    return Answer(public_documents()[request.seed % 12].answer)
