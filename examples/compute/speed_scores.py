"""What a round's answers are worth: nothing unless right, and then the more the sooner they came.

Pure: times and verdicts in, scores out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

NOISE_FLOOR: Final = 0.020
"""Seconds added to every time. Differences well below it (a busy switch, a scheduler's slice) hardly show."""


@dataclass(frozen=True, slots=True)
class Answered:
    """How one miner did in one round."""

    correct: bool
    seconds: float
    """From sending the request to the whole answer, as the validator measured it. The time that the miner itself
    reports plays no part: it would only have to report less."""


def job_seed(salt: bytes, validator: str, miner: str) -> bytes:
    """16 bytes of a miner's job: from the round's salt and both hotkeys.

    A miner works on the job that is its own and its caller's. Whoever passes a request on to an honest miner gets the
    answer to another job.
    """
    return hashlib.blake2b(f"{validator}/{miner}".encode(), key=salt, digest_size=16).digest()


def speed_scores(answers: Mapping[str, Answered]) -> dict[str, float]:
    """Hotkey -> 0..1: zero when wrong or missing, else (best + floor) / (own + floor), best among the right answers."""
    right = [answer.seconds for answer in answers.values() if answer.correct]
    best = min(right, default=0.0)
    return {
        hotkey: (best + NOISE_FLOOR) / (max(answer.seconds, best) + NOISE_FLOOR) if answer.correct else 0.0
        for hotkey, answer in answers.items()
    }
