"""Checks of `yumad doctor` that ask the running daemon: clock, age of the chain, peers, plugins, services (AXON R40).

Without a daemon there is nothing to ask, which is no fault.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ..consensus.types import YumadError
from ..storage.home import Home
from .axon.chain_view import DEGRADED_BLOCKS
from .axon.health import SKEW_FATAL, SKEW_SHOWN
from .commands.output import CommandError, Exit
from .control_client import ControlClient
from .doctor_finding import Look, Problem
from .doctor_serving import plugin_settings

UNREACHED_BY: Final = 2
"""Probers that must have failed, and none succeeded: one alone may have a bad line."""

_SHOWN_ADDRESS: Final = 12


class RunningDaemon:
    """One look at the daemon of a home."""

    def __init__(self, home: Home) -> None:
        """Never raises; what went wrong is told by `answers`."""
        self._home = home
        self._problem: YumadError | None = None
        self._status: dict[str, Any] | None = None
        self._plugins: list[dict[str, Any]] = []
        self._axon: dict[str, Any] | None = None
        if not home.path.exists():
            return
        try:
            with ControlClient.connect(home.path) as client:
                self._status = client.call("status")
                self._plugins = _if_known(client, "plugin.list") or []
                self._axon = _if_known(client, "axon.status")
        except CommandError as error:
            if error.exit_code is not Exit.NO_DAEMON or _is_locked(home):
                self._problem = error
        except YumadError as error:
            self._problem = error

    def checks(self) -> list[tuple[str, Look]]:
        """Name and check."""
        return [
            ("control", self.answers),
            ("clock offset", self.clock_offset),
            ("chain age", self.chain_age),
            ("peers", self.peers),
            ("plugin states", self.plugin_states),
            ("services", self.services),
        ]

    def answers(self) -> Iterator[str]:
        """Whether it answers commands."""
        if self._problem is not None:
            raise Problem(
                f"a process has this home and does not answer: {self._problem.message}",
                self._problem.remedy or "see its log; end it and start it again with `yumad run`",
            )
        if self._status is not None:
            yield f"{self._status['network']} at block {self._status['height']}"

    def clock_offset(self) -> Iterator[str]:
        """This clock against those of other peers."""
        if self._status is None:
            return
        offset = self._status["clock_offset_ms"]
        if offset is None:
            yield "no other peer has told its time"
            return
        if abs(offset) >= SKEW_SHOWN * 1000:
            side = "behind" if offset > 0 else "ahead of"
            raise Problem(
                f"this clock is {abs(offset) / 1000:.1f} s {side} the median of other peers",
                f"turn time synchronisation on (chrony, ntpd): calls are refused from {SKEW_FATAL:.0f} s",
            )
        yield f"{offset:+.0f} ms against the median of other peers"

    def chain_age(self) -> Iterator[str]:
        """How old the newest final block is."""
        status = self._status
        if status is None:
            return
        if status["syncing_to"] is not None:
            yield f"fetching blocks: {status['finalised']} of {status['syncing_to']}"
            return
        seconds = status["finalised_age_s"]
        if seconds * 1000 > DEGRADED_BLOCKS * status["slot_ms"]:
            raise Problem(
                f"the newest final block, {status['finalised']}, is {seconds} s old; a slot has "
                f"{status['slot_ms'] / 1000:g} s",
                "see `yumad status` and `yumad peers`: either this peer is cut off, or too many authorities are",
            )
        yield f"block {status['finalised']} became final {seconds} s ago"

    def peers(self) -> Iterator[str]:
        """Whether anybody is connected."""
        status = self._status
        if status is None:
            return
        alone = status["authorities"] <= 1 and status["authority"] is not None
        if not status["peers"] and not alone:
            raise Problem(
                "no peer is connected",
                "add one with `yumad join ADDRESS#GENESIS`; outgoing TCP to its port must be allowed",
            )
        yield f"{status['peers']} connected"

    def plugin_states(self) -> Iterator[str]:
        """Whether the plugins run."""
        for plugin in self._plugins:
            error = plugin["error"]
            if plugin["state"] in ("failed", "backing off"):
                said = "" if error is None else f": {error['message']}"
                remedy = f"see `yumad plugin logs {plugin['name']}`"
                raise Problem(f"plugin {plugin['name']} is {plugin['state']}{said}", remedy)
            yield f"{plugin['name']} is {plugin['state']}"

    def services(self) -> Iterator[str]:
        """Whether what is served here is announced, fresh enough, and reached by others."""
        if self._axon is None:
            return
        served = self._axon["served"]
        for name, settings in plugin_settings(self._home).items():
            if not settings.enabled or settings.role == "validator":
                continue
            if not any(service["netuid"] == settings.netuid for service in served):
                raise Problem(
                    f"plugin {name} is a miner of subnet {settings.netuid}, and nothing is announced there",
                    f"see `yumad plugin list` and `yumad plugin logs {name}`: it is announced when it is ready",
                )
        yield f"{self._axon['records']} service records known"
        for service in served:
            where = f"{service['hotkey'][:_SHOWN_ADDRESS]}… in subnet {service['netuid']}"
            reach = service["reach"]
            if reach["probers"] >= UNREACHED_BY and not reach["reached_by"]:
                raise Problem(
                    f"none of {reach['probers']} validators reaches {where}",
                    "open the listening port, or set `announce` to the address others see; "
                    f"shown are {', '.join(self._axon['shown_addresses']) or 'no addresses'}",
                )
            if service["freshness"] == "known_only":
                raise Problem(
                    f"{where} serves only callers it knows: the chain here is {self._axon['blocks_behind']} blocks old",
                    "wait for the sync, or see the check `chain age`",
                )
            yield f"{where} is reached by {reach['reached_by']} of {reach['probers']}"


def _if_known(client: ControlClient, method: str) -> Any:
    """The answer; None from a daemon without that method."""
    try:
        return client.call(method)
    except CommandError as error:
        if error.code != "unknown_method":
            raise
        return None


def _is_locked(home: Home) -> bool:
    try:
        home.lock().release()
    except YumadError:
        return True
    return False
