"""Sealed answers: every miner commits to its answer before anybody shows one (AXON R30).

The runner calls `<method>.commit` of all targets with the request. A miner computes the answer at once, keeps it, and
gives back only

    seal = blake2b-256("yumad/seal/1" | challenge | validator hotkey | miner hotkey | salt 32 | answer)

When all seals are in, or the time for them is over, the runner calls `<method>.open`; the miner shows salt and answer.
A seal names its miner and its challenge, so a copied seal opens for nobody else, and an answer that is seen cannot be
committed to any more. A miner that commits and does not open has no answer.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final

from ..consensus.types import InvalidError
from ..protocols.axon.interfaces import ServedMethod
from ..protocols.axon.plugin_values import MAX_BODY

SALT_BYTES: Final = 32
CHALLENGE_BYTES: Final = 16
SEAL_BYTES: Final = 32
_TAG: Final = b"yumad/seal/1"

COMMIT: Final = ".commit"
OPEN: Final = ".open"


@dataclass(frozen=True, slots=True)
class Sealed:
    """How a method's answers are sealed."""

    open_timeout: float = 3.0
    """Seconds a miner has to show its answer after all have committed."""
    keep: float = 120.0
    """Seconds a miner keeps an answer that nobody opens."""
    max_kept: int = 256
    """Answers a miner keeps at one time; the oldest go first."""

    def __post_init__(self) -> None:
        if not (0 < self.open_timeout <= self.keep and self.max_kept > 0):
            raise InvalidError(f"{self} cannot work", remedy="open_timeout > 0, keep >= open_timeout, max_kept >= 1")


def seal_of(challenge: bytes, validator: str, miner: str, salt: bytes, answer: bytes) -> bytes:
    """The seal a miner commits to; hotkeys as ss58."""
    head = _TAG + challenge + validator.encode() + b"/" + miner.encode() + b"/" + salt
    return blake2b(head + answer, digest_size=SEAL_BYTES).digest()


def opens(seal: bytes, challenge: bytes, validator: str, miner: str, shown: bytes) -> bytes | None:
    """The answer when what was shown (salt, then answer) is what the seal was made of; else None."""
    if len(shown) < SALT_BYTES:
        return None
    salt, answer = shown[:SALT_BYTES], shown[SALT_BYTES:]
    return answer if seal_of(challenge, validator, miner, salt, answer) == seal else None


def commit_method(served: ServedMethod) -> ServedMethod:
    """The method that takes requests and gives seals; a challenge stands before the request's body."""
    return replace(
        served,
        name=served.name + COMMIT,
        max_body=min(served.max_body + CHALLENGE_BYTES, MAX_BODY),
        max_reply=SEAL_BYTES,
    )


def open_method(served: ServedMethod, sealed: Sealed) -> ServedMethod:
    """The method that shows an answer: body is the challenge, reply salt and answer."""
    return replace(
        served,
        name=served.name + OPEN,
        timeout=sealed.open_timeout,
        max_body=CHALLENGE_BYTES,
        max_reply=min(served.max_reply + SALT_BYTES, MAX_BODY),
        idempotent=True,
    )


class KeptAnswers:
    """A miner's answers between commit and open: bounded in number and age, each shown only to the hotkey that asked.

    An answer may be shown again while it is kept, for an open whose reply got lost.
    """

    def __init__(
        self, sealed: Sealed, clock: Callable[[], float], salt: Callable[[int], bytes] = secrets.token_bytes
    ) -> None:
        self._sealed, self._clock, self._salt = sealed, clock, salt
        self._kept: OrderedDict[tuple[str, bytes], tuple[float, bytes]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def commit(self, challenge: bytes, validator: str, miner: str, answer: bytes) -> bytes:
        """Keep an answer; gives its seal."""
        self._forget()
        salt = self._salt(SALT_BYTES)
        self._kept.pop((validator, challenge), None)
        self._kept[validator, challenge] = (self._clock() + self._sealed.keep, salt + answer)
        while len(self._kept) > self._sealed.max_kept:
            self._kept.popitem(last=False)
        return seal_of(challenge, validator, miner, salt, answer)

    def show(self, challenge: bytes, validator: str) -> bytes | None:
        """Salt and answer, or None when there is none for this validator."""
        self._forget()
        entry = self._kept.get((validator, challenge))
        return None if entry is None else entry[1]

    def _forget(self) -> None:
        now = self._clock()
        while self._kept:
            until, _ = next(iter(self._kept.values()))
            if until > now:
                break
            self._kept.popitem(last=False)
