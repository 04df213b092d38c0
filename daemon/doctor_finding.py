"""What `yumad doctor` says of one thing, and how a check says that it is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..consensus.types import YumadError

Look = Callable[[], Iterator[str]]
"""One check: gives what it saw, raises Problem or another YumadError for what must be mended."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    check: str
    ok: bool
    detail: str
    remedy: str = ""


class Problem(YumadError):
    """Something is wrong; says what to do about it."""

    code = "problem"

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message, remedy=remedy)


def guarded(name: str, look: Look) -> Finding:
    """The finding of one check, whatever it runs into."""
    try:
        return Finding(name, True, "; ".join(look()) or "nothing to check")
    except YumadError as error:
        remedy = error.remedy or "see the log of the peer, and docs/operating.md"
        return Finding(name, False, error.message, remedy)
    except OSError as error:
        return Finding(name, False, str(error), "check owner and permissions of the path named")
