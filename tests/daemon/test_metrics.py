"""What a scrape shows, and the small HTTP endpoint."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families
from small_peer import SmallPeer
from yumad.daemon.metrics import Metrics, PeerSample
from yumad.daemon.metrics_endpoint import MAX_REQUEST, MetricsError, parse_address, serve_exposition


def metrics_of(peer: SmallPeer) -> Metrics:
    counters = {"gossip": {"transactions/accept": 3, "proposal/malformed": 1}}
    return Metrics(lambda: PeerSample(peer.status(), peer.mempool.stats(), counters))


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Values by name and label values."""
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


def test_scrape_shows_heights_peers_consensus_pool_and_memory() -> None:
    peer = SmallPeer()
    peer.make_block()
    shown = samples(metrics_of(peer))
    assert shown[("yumad_height",)] == shown[("yumad_finalised_height",)] == 1
    for name in ("peers", "view", "level", "quorum_missing_weight", "mempool_bytes", "finality_p50_seconds"):
        assert (f"yumad_{name}",) in shown
    assert shown[("yumad_mempool_transactions", "paid")] == 0
    assert shown[("yumad_gossip_total", "proposal/malformed")] == 1
    assert shown[("yumad_memory_bytes",)] > 10**6


def test_observed_times_are_histograms() -> None:
    metrics = metrics_of(SmallPeer())
    metrics.observe_finality(0.4)
    metrics.observe_flush("guard", 0.0011)
    shown = samples(metrics)
    assert shown[("yumad_finality_seconds_bucket", "0.5")] == 1
    assert shown[("yumad_finality_seconds_bucket", "0.3")] == 0
    assert shown[("yumad_flush_seconds_count", "guard")] == 1


def test_two_peers_in_one_process_have_metrics_of_their_own() -> None:
    first, second = metrics_of(SmallPeer()), metrics_of(SmallPeer())
    first.observe_finality(1.0)
    assert ("yumad_finality_seconds_count",) in samples(first)
    assert ("yumad_finality_seconds_count",) not in samples(second)


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:9615", ("127.0.0.1", 9615)), ("9615", ("127.0.0.1", 9615)), ("[::1]:80", ("::1", 80))],
)
def test_address_is_host_and_port_or_a_port_of_loopback(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "localhost", "127.0.0.1:", "127.0.0.1:http", "1:70000", "1:-1"])
def test_address_that_is_none_is_a_clear_error(text: str) -> None:
    with pytest.raises(MetricsError) as caught:
        parse_address(text)
    assert "host:port" in caught.value.remedy


@asynccontextmanager
async def endpoint() -> AsyncIterator[int]:
    async with trio.open_nursery() as nursery:
        port = await nursery.start(partial(serve_exposition, "127.0.0.1:0", lambda: b"yumad_height 7\n"))
        yield port
        nursery.cancel_scope.cancel()


async def exchange(port: int, request: bytes) -> bytes:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(request)
        answer = b""
        while data := await stream.receive_some(65536):
            answer += data
        return answer


async def test_endpoint_serves_get_metrics_and_nothing_else() -> None:
    async with endpoint() as port:
        good = await exchange(port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert good.startswith(b"HTTP/1.1 200 OK\r\n") and good.endswith(b"\r\n\r\nyumad_height 7\n")
        assert (await exchange(port, b"GET /etc/passwd HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 404")
        assert (await exchange(port, b"POST /metrics HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 405")
        assert (await exchange(port, b"HEAD /metrics HTTP/1.1\r\n\r\n")).endswith(b"\r\n\r\n")


async def test_endpoint_survives_garbage_and_floods() -> None:
    async with endpoint() as port:
        assert (await exchange(port, b"\x00\xff\n\n")).startswith(b"HTTP/1.1 405")
        assert (await exchange(port, b"A" * (MAX_REQUEST + 1))).startswith(b"HTTP/1.1 405")
        async with await trio.open_tcp_stream("127.0.0.1", port):
            assert (await exchange(port, b"GET / HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200")


async def test_port_in_use_is_one_clear_error() -> None:
    async with endpoint() as port:
        with pytest.raises(MetricsError) as caught:
            await serve_exposition(f"127.0.0.1:{port}", lambda: b"")
        assert "another with --metrics" in caught.value.remedy
