"""What /metrics, /healthz and /readyz say, over the real endpoint."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import Any

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families
from small_peer import SmallPeer
from trio.testing import MockClock
from yumad.consensus.types import Era, Hash32, Height, View
from yumad.daemon.axon.axon_metrics import AxonMetrics, AxonSample
from yumad.daemon.axon.chain_view import ChainView
from yumad.daemon.axon.health import HealthSample, health_pages, peer_health, reasons
from yumad.daemon.clock import TrioClock
from yumad.daemon.metrics_endpoint import serve_exposition
from yumad.protocols.axon.interfaces import Freshness, Latency
from yumad.protocols.axon.status import Status
from yumad.storage.chain import FinalisedPoint

WELL = HealthSample(started=True, finalised_height=100, clock_offset=0.01, plugins={"echo": "ready"})


def changed(**fields: Any) -> HealthSample:
    values = {name: getattr(WELL, name) for name in HealthSample.__slots__}
    return HealthSample(**(values | fields))


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (WELL, []),
        (changed(plugins={}), []),
        (changed(started=False), [("starting", True)]),
        (changed(syncing_to=500), [("syncing", False)]),
        (changed(freshness=Freshness.DEGRADED, blocks_behind=12), [("degraded", False)]),
        (
            changed(freshness=Freshness.KNOWN_ONLY, blocks_behind=900, syncing_to=1000),
            [("syncing", True), ("stale_state", True)],
        ),
        (changed(clock_offset=1.5), [("clock_skew", False)]),
        (changed(clock_offset=-2.5), [("clock_skew", True)]),
        (changed(clock_offset=None), []),
        (changed(plugins={"echo": "crashed"}), [("no_plugin_ready", True)]),
        (changed(plugins={"echo": "ready", "chat": "starting"}), [("plugin", False)]),
        (changed(plugins={"echo": "stopped"}), []),
        (changed(plugins={"echo": "stopped", "chat": "backing off"}), [("no_plugin_ready", True)]),
    ],
)
def test_r25_each_thing_that_is_not_as_it_should_be_is_a_reason(
    sample: HealthSample, expected: list[tuple[str, bool]]
) -> None:
    assert [(reason.code, reason.fatal) for reason in reasons(sample)] == expected


def test_r25_reasons_tell_numbers_and_what_to_look_at() -> None:
    texts = [reason.text for reason in reasons(changed(clock_offset=-2.5, plugins={"echo": "crashed"}))]
    assert texts == [
        "this clock is 2.5 s ahead of the median of other peers; check time sync",
        "no plugin can take calls: echo is crashed; see `yumad plugin logs`",
    ]


def shown(metrics: AxonMetrics) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


def test_r25_calls_queues_and_plugins_are_metrics_without_hotkeys_or_addresses() -> None:
    sample = AxonSample(3, 2, {"late": 7}, {"ready": 1, "crashed": 1}, 4)
    metrics = AxonMetrics(lambda: sample)
    metrics.served(Status.OK, 0.001, 0.02)
    metrics.served(Status.BAD_SIGNATURE)
    metrics.made(Status.OK, Latency(total=0.004))
    metrics.made(Status.DIAL_FAILED, Latency())
    values = shown(metrics)
    assert values[("yumad_axon_calls_total", "in", "ok")] == 1
    assert values[("yumad_axon_calls_total", "in", "bad_signature")] == 1
    assert values[("yumad_axon_calls_total", "out", "dial_failed")] == 1
    assert values[("yumad_axon_call_seconds_count", "handler")] == 1
    assert values[("yumad_axon_call_seconds_bucket", "0.005", "total")] == 1
    assert values[("yumad_axon_waiting",)] == 3
    assert values[("yumad_axon_running",)] == 2
    assert values[("yumad_axon_queue_refusals_total", "late")] == 7
    assert values[("yumad_plugins", "crashed")] == 1
    assert values[("yumad_axon_blocks_behind",)] == 4
    labels = set(re.findall(r"(\w+)=\"", metrics.exposition().decode()))
    assert labels == {"direction", "status", "part", "le", "reason", "state"}


async def get(port: int, path: str) -> tuple[int, str]:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(f"GET {path} HTTP/1.1\r\n\r\n".encode())
        answer = b"".join([part async for part in stream]).decode()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]), body


async def test_r25_the_pages_answer_beside_the_metrics() -> None:
    sample = WELL
    async with trio.open_nursery() as nursery:
        serve = partial(serve_exposition, "127.0.0.1:0", lambda: b"yumad_height 7\n", health_pages(lambda: sample))
        port = await nursery.start(serve)
        assert await get(port, "/healthz") == (200, '{"live": true}\n')
        status, body = await get(port, "/readyz?verbose")
        assert (status, json.loads(body)) == (200, {"ready": True, "reasons": []})
        sample = changed(started=False)
        status, body = await get(port, "/readyz")
        assert status == 503
        assert json.loads(body)["reasons"][0]["code"] == "starting"
        assert await get(port, "/metrics") == (200, "yumad_height 7\n")
        assert await get(port, "/nothing") == (404, "GET /metrics\nGET /healthz\nGET /readyz\n")
        nursery.cancel_scope.cancel()


async def test_r25_a_peer_at_genesis_is_starting_and_one_with_a_block_is_ready(autojump_clock: MockClock) -> None:
    peer = SmallPeer()
    point = FinalisedPoint(None, Hash32(bytes(32)), Height(0), View(0), Era(0), None)
    clock = TrioClock(peer.spec.timing.start_of(1))
    view = ChainView(peer.read, peer.spec.timing, clock, point)
    assert [reason.code for reason in reasons(peer_health(peer.status(), view, {}))] == ["starting"]
    peer.make_block()
    assert reasons(peer_health(peer.status(), view, {"echo": "ready"})) == []
