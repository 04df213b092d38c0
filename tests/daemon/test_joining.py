"""Fetching the chain spec of a network to join: patience with what may be over soon, none with what is wrong (R32)."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock
from yumad.daemon.joining import FIRST_PAUSE, LAST_PAUSE, fetch_patiently
from yumad.protocols.sync.chainspec_fetch import ChainSpecDelayed, ChainSpecUnavailable
from yumad.protocols.transport import DialFailed

REFUSED = DialFailed("/ip4/10.0.0.1/tcp/1", "Connection refused")


class Source:
    """A bootstrap peer that fails in the given ways, then answers."""

    def __init__(self, failures: Sequence[Exception]) -> None:
        self.failures = list(failures)
        self.asked: list[float] = []

    async def __call__(self) -> bytes:
        self.asked.append(trio.current_time())
        if self.failures:
            raise self.failures.pop(0)
        return b"spec"


async def test_r32_peer_that_comes_up_late_is_asked_again_and_told_of_once(autojump_clock: MockClock) -> None:
    source, told = Source([REFUSED, REFUSED, ChainSpecDelayed("it is too slow")]), list[str]()
    assert await fetch_patiently(source, random.Random(1), told.append) == b"spec"
    assert len(source.asked) == 4
    assert told == ["cannot connect to /ip4/10.0.0.1/tcp/1: Connection refused"]


async def test_r32_pauses_between_tries_grow_to_a_limit_and_differ_from_peer_to_peer(autojump_clock: MockClock) -> None:
    first, second = Source([REFUSED] * 40), Source([REFUSED] * 40)
    await fetch_patiently(first, random.Random(1), lambda reason: None)
    await fetch_patiently(second, random.Random(2), lambda reason: None)
    pauses = [later - earlier for earlier, later in zip(first.asked, first.asked[1:], strict=False)]
    assert 0.5 * FIRST_PAUSE <= pauses[0] <= 1.5 * FIRST_PAUSE
    assert all(0.5 * LAST_PAUSE <= pause <= 1.5 * LAST_PAUSE for pause in pauses[10:])
    others = [later - earlier for earlier, later in zip(second.asked, second.asked[1:], strict=False)]
    assert pauses != others


async def test_r32_spec_of_another_chain_ends_the_join_at_once(autojump_clock: MockClock) -> None:
    source = Source([ChainSpecUnavailable("it is of another chain")])
    with pytest.raises(ChainSpecUnavailable, match="another chain"):
        await fetch_patiently(source, random.Random(1), lambda reason: None)
    assert len(source.asked) == 1
