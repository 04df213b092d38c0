"""yumad: a peer of a Bittensor-style network that re-computes every Yuma epoch itself, to the last bit.

This module stays light on purpose: `yumad --help` must answer in 0.4 s, so it imports nothing heavy (DESIGN 2, 6). The
names that plugins are written with are loaded when one is asked for (plugin/public.py).
"""

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .plugin.public import (
        Aggregator,
        BlobUnavailable,
        Call,
        DefinitionError,
        Ema,
        Latency,
        Method,
        Neuron,
        Policy,
        Quota,
        Reached,
        Refusal,
        Result,
        Round,
        Sealed,
        Status,
        Stream,
        StreamAborted,
        Subnet,
        Task,
        Validator,
        WindowMean,
        WinRate,
    )

__version__: Final = "0.1.0"
"""Version of the distribution; pyproject.toml reads it from here."""

__all__ = [
    "__version__",
    "Subnet", "Method", "Call", "Refusal", "Policy", "Quota", "Sealed",
    "Validator", "Round", "Task", "Result", "Neuron", "Stream", "Latency", "Status", "Reached", "StreamAborted",
    "Aggregator", "Ema", "WindowMean", "WinRate", "DefinitionError", "BlobUnavailable",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name.startswith("_") or name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .plugin import public

    value = getattr(public, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
