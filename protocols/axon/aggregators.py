"""How scores of single rounds become one number per miner (AXON R28); pure, used by validators and by the score table.

An aggregator turns (state, score) into the next state, and a state into a value of 0..1. States are plain CBOR values,
kept by hotkey, so that they survive a restart and never pass to the next owner of a uid.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from ...consensus.types import InvalidError

MAX_WINDOW: Final = 4096
"""Scores a window may hold: 32 KiB a miner."""

_FACTOR: Final = "a factor is above 0 and at most 1"


class Aggregator(ABC):
    """Base of all of them. An own subclass overrides `update` and `value`, and `initial` if None is no good start."""

    name: ClassVar[str] = ""
    """Set for the built-in ones, which the peer computes itself."""

    def initial(self) -> Any:
        """State of a miner without a score yet."""
        return None

    @abstractmethod
    def update(self, state: Any, score: float) -> Any:
        """State after one more round. Must not change the old one."""

    @abstractmethod
    def value(self, state: Any) -> float:
        """What the state is worth, 0..1."""

    def params(self) -> dict[str, Any]:
        """Arguments that make an equal aggregator."""
        return {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in self.params().items())})"


class Ema(Aggregator):
    """Exponential moving average: value += alpha * (score - value). Newcomers start from `start`, not from their first
    score, so that a fresh key gains nothing."""

    name = "ema"

    def __init__(self, alpha: float = 0.1, start: float = 0.0) -> None:
        if not 0.0 < alpha <= 1.0:
            raise InvalidError(f"Ema: alpha is {alpha!r}; {_FACTOR}", remedy="use for example Ema(0.1)")
        self.alpha, self.start = float(alpha), _score("Ema: start", start)

    def initial(self) -> float:
        """The starting value."""
        return self.start

    def update(self, state: Any, score: float) -> float:
        """The average moved towards the score."""
        return float(state + self.alpha * (score - state))

    def value(self, state: Any) -> float:
        """The average."""
        return float(state)

    def params(self) -> dict[str, Any]:
        """alpha, start."""
        return {"alpha": self.alpha, "start": self.start}


class WindowMean(Aggregator):
    """Mean of the last `size` scores; rounds that have not been yet count as zero once `full` is set."""

    name = "window_mean"

    def __init__(self, size: int = 32, full: bool = False) -> None:
        self.size, self.full = _window("WindowMean", size), bool(full)

    def initial(self) -> list[float]:
        """No scores."""
        return []

    def update(self, state: Any, score: float) -> list[float]:
        """The window moved on by one."""
        return [*state, float(score)][-self.size :]

    def value(self, state: Any) -> float:
        """The mean."""
        return float(sum(state)) / (self.size if self.full else max(len(state), 1))

    def params(self) -> dict[str, Any]:
        """size, full."""
        return {"size": self.size, "full": self.full}


class WinRate(Aggregator):
    """Share of the last `size` rounds whose score was at least `threshold`."""

    name = "win_rate"

    def __init__(self, size: int = 100, threshold: float = 0.5) -> None:
        self.size, self.threshold = _window("WinRate", size), _score("WinRate: threshold", threshold)

    def initial(self) -> list[bool]:
        """No rounds."""
        return []

    def update(self, state: Any, score: float) -> list[bool]:
        """One more round, won or lost."""
        return [*state, score >= self.threshold][-self.size :]

    def value(self, state: Any) -> float:
        """Rounds won over rounds played."""
        return sum(map(bool, state)) / max(len(state), 1)

    def params(self) -> dict[str, Any]:
        """size, threshold."""
        return {"size": self.size, "threshold": self.threshold}


BUILT_IN: Final[Mapping[str, type[Aggregator]]] = {kind.name: kind for kind in (Ema, WindowMean, WinRate)}


def built_in_aggregator(name: str, params: Mapping[str, Any]) -> Aggregator:
    """The aggregator a plugin names. Raises InvalidError for a name or parameters that are none."""
    kind = BUILT_IN.get(name)
    if kind is None:
        raise InvalidError(f"there is no aggregator {name!r}", remedy=f"use one of {', '.join(BUILT_IN)}")
    try:
        return kind(**params)
    except TypeError as error:
        raise InvalidError(
            f"aggregator {name}: {error}", remedy=f"its parameters are {', '.join(kind().params())}"
        ) from None


def _window(where: str, size: int) -> int:
    if type(size) is not int or not 1 <= size <= MAX_WINDOW:
        raise InvalidError(f"{where}: size is {size!r}", remedy=f"give rounds from 1 to {MAX_WINDOW}")
    return size


def _score(where: str, score: float) -> float:
    if type(score) not in (int, float) or not 0.0 <= score <= 1.0:
        raise InvalidError(f"{where} is {score!r}", remedy="give a number from 0 to 1")
    return float(score)
