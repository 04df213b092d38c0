"""A validator that calls more miners than its peer keeps connections (AXON R18)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from structlog.testing import capture_logs
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.types import AccountId
from yumad.daemon.axon.backend import ServiceBackend
from yumad.daemon.axon.fan_out import FanOutNotice
from yumad.daemon.plugins.backend import PluginIdentity
from yumad.protocols.axon.interfaces import CallTerms


class Quiet:
    """A call client that has nobody to call."""

    async def call_many(self, *given: object, **how: object) -> list[object]:
        return []


def backend(max_peers: int) -> ServiceBackend:
    return ServiceBackend(cast(Any, SimpleNamespace(client=Quiet())), FanOutNotice(max_peers))


async def rounds(backend: ServiceBackend, name: str, role: str, targets: int) -> None:
    """Two rounds of a plugin that calls so many."""
    who = PluginIdentity(name, 1, (role,), dev_keypair(name))
    bodies = {AccountId(number.to_bytes(32)): b"" for number in range(targets)}
    for _ in range(2):
        await backend.call_many(who, bodies, "ask", 1, CallTerms(5.0))


async def test_r18_validator_that_calls_more_than_max_peers_is_told_of_once_with_the_number_that_is_enough() -> None:
    with capture_logs() as logs:
        peer = backend(64)
        await rounds(peer, "judge", "validator", 256)
        await rounds(peer, "small", "validator", 64)
        await rounds(peer, "miner", "miner", 256)
    (line,) = logs
    assert (line["plugin"], line["neurons"], line["max_peers"]) == ("judge", 256, 64)
    assert "320" in line["remedy"]
