"""BIP-39 words and the Substrate rule that makes a seed of them (DESIGN decision 11).

Bitcoin's rule stretches the text of the words; Substrate stretches the *entropy* behind them. The field's tools use the
latter, so the same words give the same 32-byte seed here, from which the Ed25519 key is made.
"""

from __future__ import annotations

from hashlib import pbkdf2_hmac
from typing import Final

from mnemonic import Mnemonic

from ..consensus.types import MalformedError

WORD_COUNTS: Final = (12, 15, 18, 21, 24)
"""Lengths BIP-39 has: 16 to 32 bytes of entropy in steps of 4."""

_ROUNDS: Final = 2048
"""Fixed by BIP-39 and kept by Substrate."""


def phrase_from_entropy(entropy: bytes) -> str:
    """The English words for 16, 20, 24, 28 or 32 random bytes."""
    return str(Mnemonic("english").to_mnemonic(entropy))


def entropy_from_phrase(phrase: str) -> bytes:
    """The entropy behind a phrase; case and spacing do not matter.

    Raises MalformedError for a wrong number of words, an unknown word (named) or a wrong checksum. The words that
    were given are secret, so no message repeats more than the one unknown word.
    """
    words = phrase.lower().split()
    if len(words) not in WORD_COUNTS:
        raise MalformedError(
            f"a mnemonic of {len(words)} words", remedy=f"give {', '.join(map(str, WORD_COUNTS))} words in their order"
        )
    language = Mnemonic("english")
    known = language.wordlist
    for position, word in enumerate(words, start=1):
        if word not in known:
            raise MalformedError(f"word {position}, {word!r}, is not in the English list", remedy="check its spelling")
    if not language.check(" ".join(words)):
        raise MalformedError("the words do not fit together (checksum)", remedy="check their order and spelling")
    return bytes(language.to_entropy(words))


def seed_from_phrase(phrase: str, password: str = "") -> bytes:
    """The 32-byte seed of a phrase: PBKDF2-HMAC-SHA512 over the entropy, salt "mnemonic" + password, 2048 rounds.

    Raises MalformedError as `entropy_from_phrase`.
    """
    stretched = pbkdf2_hmac("sha512", entropy_from_phrase(phrase), b"mnemonic" + password.encode(), _ROUNDS)
    return stretched[:32]
