"""yumad: a peer of a Bittensor-style network that re-computes every Yuma epoch itself, to the last bit.

This module stays light on purpose: `yumad --help` must answer in 0.4 s, so it imports nothing heavy (DESIGN 2, 6).
"""

from typing import Final

__version__: Final = "0.1.0"
"""Version of the distribution; pyproject.toml reads it from here."""

__all__ = ["__version__"]
