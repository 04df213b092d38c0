"""Edge cases of Ed25519 that libraries disagree on, and how these rules judge them (CHAIN 5.6).

Verification is part of consensus, so a peer whose library judges one of them otherwise must not start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .signature import verify
from .types import YumadError


class SignatureLibraryError(YumadError):
    """The installed library judges signatures otherwise than the network."""

    code = "signature_library"


@dataclass(frozen=True, slots=True)
class EdgeCase:
    """One signature in hex, and whether it is right."""

    name: str
    public_key: str
    message: str
    r: str
    s: str
    is_right: bool


EDGE_CASES: Final = (
    EdgeCase(
        "right",
        "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8",
        "79756d6164",
        "bcb221544a7e7382650af3a53730e63bac824d8a963008238935b177b8c09760",
        "e3b20fbc462204f6ef0c890da0cfd3c0514f9a1b7c9a99ca63267636f7b3d200",
        True,
    ),
    EdgeCase(
        "right, empty message",
        "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8",
        "",
        "9ca53579530654d5c3df77089ef45eda613e2fedf670e96bedac4639504e5845",
        "ef4b95d5793077233dd16817b2532e9c5525872a73a4ad74b759369a9e05c102",
        True,
    ),
    EdgeCase(
        "another message",
        "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8",
        "79756d6165",
        "bcb221544a7e7382650af3a53730e63bac824d8a963008238935b177b8c09760",
        "e3b20fbc462204f6ef0c890da0cfd3c0514f9a1b7c9a99ca63267636f7b3d200",
        False,
    ),
    EdgeCase(
        "S + L is the same scalar in another form",
        "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8",
        "79756d6164",
        "bcb221544a7e7382650af3a53730e63bac824d8a963008238935b177b8c09760",
        "d08605196185164ec6a980b07ec9b2d5514f9a1b7c9a99ca63267636f7b3d210",
        False,
    ),
    EdgeCase(
        "S with its top bit set",
        "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8",
        "79756d6164",
        "bcb221544a7e7382650af3a53730e63bac824d8a963008238935b177b8c09760",
        "e3b20fbc462204f6ef0c890da0cfd3c0514f9a1b7c9a99ca63267636f7b3d280",
        False,
    ),
    EdgeCase(
        "sign bit of R flipped",
        "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8",
        "79756d6164",
        "bcb221544a7e7382650af3a53730e63bac824d8a963008238935b177b8c097e0",
        "e3b20fbc462204f6ef0c890da0cfd3c0514f9a1b7c9a99ca63267636f7b3d200",
        False,
    ),
    EdgeCase(
        "key of small order, 0",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "79756d6164",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000000",
        False,
    ),
    EdgeCase(
        "key of small order, 1",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "79756d6164",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000000",
        False,
    ),
    EdgeCase(
        "key of small order, 2",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "79756d6164",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000000",
        False,
    ),
    EdgeCase(
        "key of small order, 3",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "79756d6164",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000000",
        False,
    ),
    EdgeCase(
        "key of small order, 4",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "79756d6164",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000000",
        False,
    ),
    EdgeCase(
        "key of small order, 5",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "79756d6164",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000000",
        False,
    ),
    EdgeCase(
        "R of small order",
        "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8",
        "79756d6164",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e3b20fbc462204f6ef0c890da0cfd3c0514f9a1b7c9a99ca63267636f7b3d200",
        False,
    ),
    EdgeCase(
        "key that is not reduced",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "79756d6164",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000000",
        False,
    ),
    EdgeCase(
        "R that is not reduced",
        "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8",
        "79756d6164",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "e3b20fbc462204f6ef0c890da0cfd3c0514f9a1b7c9a99ca63267636f7b3d200",
        False,
    ),
    EdgeCase(
        "key that is no point",
        "0200000000000000000000000000000000000000000000000000000000000000",
        "79756d6164",
        "bcb221544a7e7382650af3a53730e63bac824d8a963008238935b177b8c09760",
        "e3b20fbc462204f6ef0c890da0cfd3c0514f9a1b7c9a99ca63267636f7b3d200",
        False,
    ),
)


def check_signatures() -> int:
    """How many cases were judged as expected: all. Raises SignatureLibraryError naming the first other one."""
    for case in EDGE_CASES:
        judged = verify(bytes.fromhex(case.public_key), bytes.fromhex(case.message), bytes.fromhex(case.r + case.s))
        if judged is not case.is_right:
            raise SignatureLibraryError(
                f"Ed25519 case {case.name!r} is judged {judged}, expected {case.is_right}",
                remedy="install PyNaCl from the lock file: `./scripts/setup`",
            )
    return len(EDGE_CASES)
