"""The memory of used request ids (AXON R2)."""

from __future__ import annotations

import random
import tracemalloc

from axon_world import CALLER, EPOCH_NS, OTHER, account
from yumad.protocols.axon.limits import WINDOW_AHEAD_NS, WINDOW_BACK_NS
from yumad.protocols.axon.replay import MAX_IDS, MemoryReplayStore

SECOND = 10**9


class Clock:
    def __init__(self) -> None:
        self.now = EPOCH_NS

    def __call__(self) -> int:
        return self.now


def test_r2_id_counts_as_used_once_it_was_seen_and_per_caller() -> None:
    clock = Clock()
    store = MemoryReplayStore(clock, salt=bytes(16))
    assert not store.seen(account(CALLER), b"a" * 16, clock.now)
    assert store.seen(account(CALLER), b"a" * 16, clock.now)
    assert not store.seen(account(OTHER), b"a" * 16, clock.now)
    assert not store.seen(account(CALLER), b"b" * 16, clock.now)
    assert len(store) == 3


def test_r2_id_is_remembered_for_as_long_as_its_envelope_is_fresh() -> None:
    clock = Clock()
    store = MemoryReplayStore(clock, salt=bytes(16))
    created = clock.now + WINDOW_AHEAD_NS
    assert not store.seen(account(CALLER), b"a" * 16, created)
    for _ in range(12):
        clock.now += SECOND
        assert store.seen(account(CALLER), b"a" * 16, created)
        assert not store.seen(account(CALLER), random.randbytes(16), clock.now)
    assert clock.now - created <= WINDOW_BACK_NS


def test_r2_ids_expire_and_memory_with_them() -> None:
    clock = Clock()
    store = MemoryReplayStore(clock, salt=bytes(16))
    for number in range(1000):
        store.seen(account(CALLER), number.to_bytes(16, "big"), clock.now)
    clock.now += 60 * SECOND
    store.seen(account(CALLER), b"a" * 16, clock.now)
    assert len(store) == 1


def test_r2_clock_that_steps_back_fails_closed() -> None:
    clock = Clock()
    store = MemoryReplayStore(clock, salt=bytes(16))
    created = clock.now
    assert not store.seen(account(CALLER), b"a" * 16, created)
    clock.now += 60 * SECOND
    store.seen(account(CALLER), b"b" * 16, clock.now)
    clock.now -= 60 * SECOND
    assert store.seen(account(CALLER), b"a" * 16, created)


def test_r2_full_store_counts_everything_as_used() -> None:
    clock = Clock()
    store = MemoryReplayStore(clock, salt=bytes(16), most=2)
    assert not store.seen(account(CALLER), b"a" * 16, clock.now)
    assert not store.seen(account(CALLER), b"b" * 16, clock.now)
    assert store.seen(account(CALLER), b"c" * 16, clock.now)
    clock.now += 60 * SECOND
    assert not store.seen(account(CALLER), b"d" * 16, clock.now)


def test_r2_full_store_stays_below_64_mib() -> None:
    clock = Clock()
    store = MemoryReplayStore(clock, salt=bytes(16))
    count = MAX_IDS // 16
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(count):
        store.seen(account(CALLER), number.to_bytes(16, "big"), clock.now)
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert used / count * MAX_IDS < 64 << 20


def test_r2_start_is_followed_by_one_window_of_refusal() -> None:
    clock = Clock()
    store = MemoryReplayStore(clock, salt=bytes(16))
    assert store.not_before == clock.now + WINDOW_AHEAD_NS
