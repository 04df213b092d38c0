"""`/healthz` and `/readyz` (AXON R25): whether the process lives, and whether it should be sent calls, with reasons.

Live is whoever answers: the answer comes from the loop that serves the calls. Ready has reasons, so that a person who
looks at a peer out of service reads what to wait for or to mend.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ...protocols.axon.interfaces import Freshness
from ..metrics_endpoint import Page
from ..peer_view import PeerStatus
from .chain_view import ChainView

SKEW_SHOWN: Final = 1.0
"""Seconds of clock difference that are told: half of what callers' clocks may be behind."""

SKEW_FATAL: Final = 2.0
"""Seconds from which calls are refused as stale: a request may be created 2 s ahead of the server's clock at most."""

PLUGIN_READY: Final = "ready"

PLUGIN_STOPPED: Final = "stopped"
"""By its operator: nothing that waits to be mended."""


@dataclass(frozen=True, slots=True)
class HealthSample:
    """One look at a peer."""

    started: bool
    """The network listens, and at least one final block is known."""
    finalised_height: int = 0
    syncing_to: int | None = None
    blocks_behind: int = 0
    freshness: Freshness = Freshness.FRESH
    """The worst of all subnets that are served."""
    clock_offset: float | None = None
    """Median of the other peers' clocks minus ours in seconds; None before any was heard."""
    plugins: Mapping[str, str] = field(default_factory=dict)
    """State of each plugin by name; empty for a peer that runs none."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a peer is not ready, or not quite well."""

    code: str
    """Stable: starting, syncing, degraded, stale_state, no_plugin_ready, plugin, clock_skew."""
    text: str
    fatal: bool
    """Whether it makes the peer not ready."""


def reasons(sample: HealthSample) -> list[Reason]:
    """Everything that is not as it should be, the most telling first."""
    found: list[Reason] = []

    def add(code: str, text: str, *, fatal: bool) -> None:
        found.append(Reason(code, text, fatal))

    if not sample.started:
        add("starting", "no final block is known yet; wait for the first one, or check `yumad peers`", fatal=True)
    elif sample.syncing_to is not None:
        text = f"fetching blocks: {sample.finalised_height} of {sample.syncing_to}"
        add("syncing", text, fatal=sample.freshness is Freshness.KNOWN_ONLY)
    if sample.started and sample.freshness is not Freshness.FRESH:
        text = f"the newest final block is {sample.blocks_behind} blocks behind"
        if sample.freshness is Freshness.KNOWN_ONLY:
            add("stale_state", f"{text}: only callers that were served before are served", fatal=True)
        else:
            add("degraded", f"{text}: calls are served by that state", fatal=False)
    if sample.clock_offset is not None and abs(sample.clock_offset) >= SKEW_SHOWN:
        side = "behind" if sample.clock_offset > 0 else "ahead of"
        text = f"this clock is {abs(sample.clock_offset):.1f} s {side} the median of other peers; check time sync"
        add("clock_skew", text, fatal=abs(sample.clock_offset) >= SKEW_FATAL)
    running = {name: state for name, state in sorted(sample.plugins.items()) if state != PLUGIN_STOPPED}
    broken = {name: state for name, state in running.items() if state != PLUGIN_READY}
    if running and len(broken) == len(running):
        listed = ", ".join(f"{name} is {state}" for name, state in broken.items())
        add("no_plugin_ready", f"no plugin can take calls: {listed}; see `yumad plugin logs`", fatal=True)
    else:
        for name, state in broken.items():
            add("plugin", f"plugin {name} is {state}; see `yumad plugin logs {name}`", fatal=False)
    return found


def peer_health(status: PeerStatus, view: ChainView, plugins: Mapping[str, str]) -> HealthSample:
    """One look at a running peer; `plugins` is the state of each by name."""
    return HealthSample(
        started=status.finalised_height > 0,
        finalised_height=status.finalised_height,
        syncing_to=status.syncing_to,
        blocks_behind=view.blocks_behind(),
        freshness=view.worst_freshness(),
        clock_offset=None if status.clock_offset_ms is None else status.clock_offset_ms / 1000,
        plugins=plugins,
    )


def health_pages(sample: Callable[[], HealthSample]) -> dict[str, Callable[[], Page]]:
    """The pages for the metrics endpoint, by path."""

    def live() -> Page:
        return Page("200 OK", "application/json", b'{"live": true}\n')

    def ready() -> Page:
        found = reasons(sample())
        is_ready = not any(reason.fatal for reason in found)
        document = {
            "ready": is_ready,
            "reasons": [{"code": reason.code, "text": reason.text, "fatal": reason.fatal} for reason in found],
        }
        body = json.dumps(document).encode() + b"\n"
        return Page("200 OK" if is_ready else "503 Service Unavailable", "application/json", body)

    return {"/healthz": live, "/readyz": ready}
