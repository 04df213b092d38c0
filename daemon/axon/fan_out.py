"""Telling an operator that a validator calls more miners than its peer keeps connections (AXON R18)."""

from __future__ import annotations

from typing import Final

from ..logging import get_logger

OWN_CONNECTIONS: Final = 64
"""Left for the network itself beside the connections to miners: as many as a peer has without a validator."""


class FanOutNotice:
    """One line a validator, in the whole life of the process."""

    def __init__(self, max_peers: int) -> None:
        self._max_peers = max_peers
        self._told: set[str] = set()
        self._log = get_logger("axon")

    def calling(self, plugin: str, targets: int) -> None:
        """A validator calls so many neurons at one time."""
        if targets <= self._max_peers or plugin in self._told:
            return
        self._told.add(plugin)
        self._log.warning(
            "a validator calls more neurons than this peer keeps connections: calls to some of them fail",
            plugin=plugin,
            neurons=targets,
            max_peers=self._max_peers,
            remedy=f"set `max_peers` to {targets + OWN_CONNECTIONS}",
        )
