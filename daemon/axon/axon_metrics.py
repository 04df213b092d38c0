"""Prometheus metrics of calls and plugins (AXON R25). No label names a hotkey, a method, a subnet or an address.

Labels that strangers choose would let them grow the registry, and would tell the scraper whom a miner works for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ...protocols.axon.interfaces import Latency
from ...protocols.axon.status import Status

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""From a small call on loopback to the longest usual timeout."""


@dataclass(frozen=True, slots=True)
class AxonSample:
    """What is read at a scrape."""

    waiting: int = 0
    """Calls in the admission queues."""
    running: int = 0
    """Calls that handlers work on."""
    refusals: Mapping[str, int] = field(default_factory=dict)
    """Refusals of the admission queue by reason."""
    plugins: Mapping[str, int] = field(default_factory=dict)
    """How many plugins are in each state."""
    blocks_behind: int = 0
    weights: Mapping[str, int] = field(default_factory=dict)
    """Transactions of the weight scheduler by kind, refused ones, and commits that were held back."""


class AxonMetrics:
    """One peer's; a registry of its own, appended to the peer's exposition."""

    def __init__(self, sample: Callable[[], AxonSample]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_SampleCollector(sample))
        calls = Counter(
            "yumad_axon_calls", "Calls by direction and outcome.", ["direction", "status"], registry=self._registry
        )
        seconds = Histogram(
            "yumad_axon_call_seconds",
            "Where the time of calls went: queue and handler at the server, total at the client.",
            ["part"],
            buckets=SECONDS,
            registry=self._registry,
        )
        # Children are looked up once: a call should not pay for that.
        self._served = {status: calls.labels("in", status.name.lower()) for status in Status if status.travels}
        self._made = {status: calls.labels("out", status.name.lower()) for status in Status}
        self._queue, self._handler, self._total = (seconds.labels(part) for part in ("queue", "handler", "total"))

    def served(self, status: Status, queue_seconds: float = 0.0, handler_seconds: float | None = None) -> None:
        """One incoming call is over. Times only where a handler ran."""
        self._served[status].inc()
        if handler_seconds is not None:
            self._queue.observe(queue_seconds)
            self._handler.observe(handler_seconds)

    def made(self, status: Status, latency: Latency) -> None:
        """One outgoing call is over."""
        self._made[status].inc()
        if status is Status.OK:
            self._total.observe(latency.total)

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)


class _SampleCollector(Collector):
    """Turns a sample into metric families."""

    def __init__(self, sample: Callable[[], AxonSample]) -> None:
        self._sample = sample

    def collect(self) -> Iterator[Metric]:
        sample = self._sample()
        yield GaugeMetricFamily("yumad_axon_waiting", "Calls in the admission queues.", sample.waiting)
        yield GaugeMetricFamily("yumad_axon_running", "Calls that handlers work on.", sample.running)
        yield GaugeMetricFamily(
            "yumad_axon_blocks_behind", "Blocks that callers' standing is behind.", sample.blocks_behind
        )
        refusals = CounterMetricFamily(
            "yumad_axon_queue_refusals", "Calls the admission queue refused, by reason.", labels=["reason"]
        )
        for reason, count in sorted(sample.refusals.items()):
            refusals.add_metric([reason], count)
        yield refusals
        weights = CounterMetricFamily(
            "yumad_weight_transactions", "What the weight scheduler sent, was refused, or held back.", labels=["kind"]
        )
        for kind, count in sorted(sample.weights.items()):
            weights.add_metric([kind], count)
        yield weights
        plugins = GaugeMetricFamily("yumad_plugins", "Plugins by state.", labels=["state"])
        for state, count in sorted(sample.plugins.items()):
            plugins.add_metric([state], count)
        yield plugins

    def describe(self) -> Iterator[Metric]:
        """Nothing ahead: registering must not take a sample."""
        return iter(())
