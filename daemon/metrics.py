"""Prometheus metrics of one peer (DESIGN 2, dependencies; the endpoint is `metrics_endpoint.py`).

Most numbers are read when somebody scrapes, so they cost nothing otherwise; times of single events are fed by the peer.
There is no global state: two peers in one process have two registries.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from .admission import PoolStats
from .metrics_endpoint import Pages, serve_exposition
from .peer_view import PeerStatus

if TYPE_CHECKING:
    from trio_typing import TaskStatus

    from .node import Peer

FINALITY_BUCKETS: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds from proposal to final; the targets are 0.5 (half of all) and 1.5 (99 %)."""

FLUSH_BUCKETS: Final = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0)
"""Seconds of one durable commit: 0.3 to 3 ms on a good disk."""


@dataclass(frozen=True, slots=True)
class PeerSample:
    """What is read at a scrape."""

    status: PeerStatus
    pool: PoolStats
    counters: Mapping[str, Mapping[str, int]]
    """Counts of things that happened, by part of the peer and name: gossip verdicts, drops by reason."""


class Metrics:
    """One peer's metrics."""

    def __init__(self, sample: Callable[[], PeerSample]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_PeerCollector(sample))
        self._finality: Histogram | None = None
        self._flush = Histogram(
            "yumad_flush_seconds",
            "Durable commits by file: guard or store.",
            ["file"],
            buckets=FLUSH_BUCKETS,
            registry=self._registry,
        )

    def observe_finality(self, seconds: float) -> None:
        """One block became final."""
        if self._finality is None:  # no series of zeros on a peer that never saw a proposal
            self._finality = Histogram(
                "yumad_finality_seconds",
                "From own receipt or sealing of a proposal to its block being final and stored.",
                buckets=FINALITY_BUCKETS,
                registry=self._registry,
            )
        self._finality.observe(seconds)

    def observe_flush(self, file: str, seconds: float) -> None:
        """One durable commit of `guard` or `store`."""
        self._flush.labels(file).observe(seconds)

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)


class _PeerCollector(Collector):
    """Turns a sample into metric families."""

    def __init__(self, sample: Callable[[], PeerSample]) -> None:
        self._sample = sample

    def collect(self) -> Iterator[Metric]:
        sample = self._sample()
        yield from _status_metrics(sample.status)
        yield from _pool_metrics(sample.pool)
        for part, counts in sorted(sample.counters.items()):
            family = CounterMetricFamily(
                f"yumad_{part}", f"What happened in {part.replace('_', ' ')}, by kind.", labels=["kind"]
            )
            for kind, count in sorted(counts.items()):
                family.add_metric([kind], count)
            yield family
        yield GaugeMetricFamily("yumad_memory_bytes", "Resident memory of the process.", resident_bytes())

    def describe(self) -> Iterator[Metric]:
        """Nothing ahead: the names depend on the sample, and registering must not take one."""
        return iter(())


def _status_metrics(status: PeerStatus) -> Iterator[Metric]:
    info = InfoMetricFamily("yumad_peer", "Who this is.")
    info.add_metric((), {"version": status.version, "network": status.network, "genesis": status.genesis_hash.hex()})
    yield info
    own = status.own_authority
    gauges: dict[str, tuple[str, float | None]] = {
        "height": ("Height of the head.", status.height),
        "finalised_height": ("Newest final height.", status.finalised_height),
        "finalised_age_seconds": (
            "Age of the newest final block's slot.",
            max(0, status.now - status.finalised_time) / 1_000_000,
        ),
        "peers": ("Connected peers.", status.peers),
        "era": ("Era being voted in.", status.era),
        "view": ("Current view of that era.", status.view),
        "level": ("Failed views since the last final block.", status.level),
        "authorities": ("Members of the running set.", status.authorities),
        "quorum_missing_weight": ("Weight in rao a quorum of this view still needs.", status.missing_weight),
        "total_weight": ("Weight in rao of the running set.", status.total_weight),
        "own_weight": ("Own weight in rao in the running set.", 0 if own is None else own.weight),
        "syncing": ("1 while blocks are fetched to catch up.", int(status.syncing_to is not None)),
        "uptime_seconds": ("Since the start.", (status.now - status.started) / 1_000_000),
        "finality_p50_seconds": ("Half of the recent blocks were final sooner.", _seconds(status.finality_p50_ms)),
        "finality_p99_seconds": ("99 % of the recent blocks were final sooner.", _seconds(status.finality_p99_ms)),
        "clock_offset_seconds": ("Median clock difference of other peers.", _seconds(status.clock_offset_ms)),
    }
    for name, (doc, value) in gauges.items():
        if value is not None:
            yield GaugeMetricFamily(f"yumad_{name}", doc, value)
    yield CounterMetricFamily("yumad_epochs", "Yuma epochs executed in final blocks.", value=status.epochs)


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _pool_metrics(pool: PoolStats) -> Iterator[Metric]:
    sizes = GaugeMetricFamily("yumad_mempool_transactions", "Waiting transactions by lane.", labels=["lane"])
    sizes.add_metric(["operational"], pool.operational)
    sizes.add_metric(["paid"], pool.transactions - pool.operational)
    yield sizes
    yield GaugeMetricFamily("yumad_mempool_ready", "Of these, not waiting for a lower nonce.", pool.ready)
    yield GaugeMetricFamily("yumad_mempool_bytes", "Bytes of waiting transactions.", pool.size)
    counts = CounterMetricFamily("yumad_mempool_admissions", "Admissions and drops by code.", labels=["code"])
    for code, count in sorted(pool.counts.items()):
        counts.add_metric([code], count)
    yield counts


def resident_bytes() -> int:
    """Resident memory of this process; 0 where /proc is not readable."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def peer_sample(peer: Peer) -> PeerSample:
    """One look at a running peer."""
    from .peer_answers import PeerAnswers  # here: it imports the whole node, which a test of the metrics does not need

    stats = peer.transport.stats()
    return PeerSample(
        PeerAnswers(peer).status(),
        peer.mempool.stats(),
        {
            "gossip": peer.validators.counters + peer.gossip.counters,
            "exchange": peer.exchange.counters,
            "requests_served": peer.request_server.counters,
            "offences": peer.enforcer.offences,
            "transport_dropped": stats.dropped,
            "transport_refused": stats.inbound_refused,
        },
    )


async def serve_metrics(
    address: str,
    peer: Peer,
    more: Callable[[], bytes] = bytes,
    pages: Pages | None = None,
    *,
    task_status: TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve a peer's metrics, `more` of them and further pages at `host:port` until cancelled.

    Raises MetricsError when it cannot listen.
    """
    metrics = Metrics(lambda: peer_sample(peer))
    peer.times.observer, peer.flushes.observer = metrics.observe_finality, metrics.observe_flush
    await serve_exposition(address, lambda: metrics.exposition() + more(), pages, task_status=task_status)
