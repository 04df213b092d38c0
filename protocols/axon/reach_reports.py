"""Who reached which miner, and how fast, as several peers measured it (AXON R31).

A prober signs one report for a subnet: when, and for each hotkey it tried the latency or that nobody answered. Reports
are believed for a quarter of an hour. What the book says of a miner is a count of probers and a median, so one prober
that lies is one voice; who may have a voice is decided by the chain (`may_report`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Final

import trio

from ...consensus import cbor
from ...consensus.domains import Domain, digest
from ...consensus.signature import KeyPair, verify
from ...consensus.types import AccountId, Hash32, InvalidError, MalformedError, Micros, Signature
from ..interfaces import Clock
from ..limits import Quota
from ..names import NetworkNames
from ..peer_ledger import Offence
from ..penalties import Penalties
from ..token_bucket import PeerBuckets
from ..transport import GossipVerdict, PeerId, Transport
from .envelope import NO_SIGNATURE
from .records import MAX_AHEAD

REPORT_VERSION: Final = 1

REPORT_LIFETIME: Final = Micros(15 * 60 * 1_000_000)
"""Three rounds of probing: a prober may miss two before its voice is gone."""

LEAST_SPACING: Final = Micros(60 * 1_000_000)
"""Between two reports of one prober on one subnet; earlier ones are not relayed."""

MAX_TARGETS: Final = 256
"""Hotkeys of one report: a whole subnet."""

MAX_LATENCY_MS: Final = 60_000
MAX_REPORT_BYTES: Final = MAX_TARGETS * 40 + 160

MAX_PROBERS: Final = 64
"""Of one subnet. Another takes the place of the one that reported longest ago."""

MAX_REPORTS: Final = 2048
"""Of all subnets: 20 MiB if all are full."""

RELAYED_REPORTS: Final = Quota(120, 10)
"""From one neighbour: 64 probers of 50 subnets each five minutes are 107 in ten seconds."""


@dataclass(frozen=True, slots=True)
class ReachReport:
    """One prober's look at one subnet. Signature validity is a separate step."""

    netuid: int
    prober: AccountId
    taken: Micros
    """Unix microseconds at the end of the round."""
    latencies: Mapping[AccountId, int | None]
    """Milliseconds to open a stream; None when the hotkey was not reached."""
    signature: Signature = NO_SIGNATURE


@dataclass(frozen=True, slots=True)
class Reach:
    """What is known of one miner's reachability."""

    reached_by: int = 0
    probers: int = 0
    """How many have tried within REPORT_LIFETIME."""
    latency_ms: int | None = None
    """Median over those who reached it."""


def make_report(
    genesis_hash: Hash32, key: KeyPair, netuid: int, latencies: Mapping[AccountId, int | None], now: Micros
) -> ReachReport:
    """A signed report; hotkeys beyond MAX_TARGETS are left out."""
    kept = dict(sorted(latencies.items())[:MAX_TARGETS])
    bounded = {hotkey: None if ms is None else max(0, min(ms, MAX_LATENCY_MS)) for hotkey, ms in kept.items()}
    report = ReachReport(netuid, AccountId(key.public_key), now, bounded)
    return replace(report, signature=key.sign(_signing_digest(genesis_hash, report)))


def _signing_digest(genesis_hash: Hash32, report: ReachReport) -> Hash32:
    return digest(Domain.REACH_REPORT, cbor.encode([genesis_hash, *_to_value(report)[:-1]]))


def _to_value(report: ReachReport) -> list[Any]:
    targets = [[hotkey, ms] for hotkey, ms in sorted(report.latencies.items())]
    return [REPORT_VERSION, report.netuid, report.prober, report.taken, targets, report.signature]


def encode_report(report: ReachReport) -> bytes:
    """Canonical bytes, at most MAX_REPORT_BYTES."""
    return cbor.encode(_to_value(report))


def decode_report(data: bytes) -> ReachReport:
    """Inverse of `encode_report`. Raises MalformedError."""
    version, netuid, prober, taken, targets, signature = cbor.as_array(
        cbor.decode(data, max_bytes=MAX_REPORT_BYTES), 6, what="reach report"
    )
    if cbor.as_uint(version, 8, what="report version") != REPORT_VERSION:
        raise MalformedError(f"reach report version {version}, expected {REPORT_VERSION}")
    latencies: dict[AccountId, int | None] = {}
    last = b""
    for item in cbor.as_array(targets, what="targets", most=MAX_TARGETS):
        hotkey, ms = cbor.as_array(item, 2, what="target")
        hotkey = cbor.as_bytes(hotkey, 32, what="hotkey")
        if hotkey <= last:
            raise MalformedError("targets are not ascending")
        if ms is not None and cbor.as_uint(ms, 16, what="latency") > MAX_LATENCY_MS:
            raise MalformedError(f"latency of {ms} ms, at most {MAX_LATENCY_MS}")
        latencies[AccountId(hotkey)] = ms
        last = hotkey
    return ReachReport(
        cbor.as_uint(netuid, 16, what="netuid"),
        AccountId(cbor.as_bytes(prober, 32, what="prober")),
        Micros(cbor.as_uint(taken, 63, what="time")),
        latencies,
        Signature(cbor.as_bytes(signature, 64, what="signature")),
    )


class ReachBook:
    """The newest report of each prober. Times are Unix microseconds."""

    def __init__(self, genesis_hash: Hash32, may_report: Callable[[int, AccountId], bool]) -> None:
        """`may_report(netuid, hotkey)`: whose voice counts, such as holders of a validator permit."""
        self._genesis_hash = genesis_hash
        self._may_report = may_report
        self._subnets: dict[int, dict[AccountId, ReachReport]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, report: ReachReport, now: Micros) -> str:
        """Keep a report if it is newer than its prober's last, and name the outcome.

        `accept`, or unregistered, expired, from_the_future, older, too_often, full. Raises InvalidError for a forgery.
        """
        if not self._may_report(report.netuid, report.prober):
            return "unregistered"
        if report.taken + REPORT_LIFETIME <= now:
            return "expired"
        if report.taken > now + MAX_AHEAD:
            return "from_the_future"
        reports = self._subnets.get(report.netuid, {})
        known = reports.get(report.prober)
        if known is not None and report.taken < known.taken + LEAST_SPACING:
            return "older" if report.taken <= known.taken else "too_often"
        replaced = known
        if known is None and len(reports) >= MAX_PROBERS:
            replaced = min(reports.values(), key=lambda held: (held.taken, held.prober))
            if replaced.taken >= report.taken:
                return "full"
        if replaced is None and self._count >= MAX_REPORTS:
            return "full"
        if not verify(report.prober, _signing_digest(self._genesis_hash, report), report.signature):
            error = InvalidError("reach report is wrongly signed, or for another chain")
            error.code = "bad_signature"
            raise error
        reports = self._subnets.setdefault(report.netuid, {})
        if replaced is not None:
            del reports[replaced.prober]
            self._count -= 1
        reports[report.prober] = report
        self._count += 1
        return "accept"

    def prune(self, now: Micros) -> None:
        """Forget what is too old, and who has no voice any more."""
        for netuid, reports in list(self._subnets.items()):
            for prober, report in list(reports.items()):
                if report.taken + REPORT_LIFETIME <= now or not self._may_report(netuid, prober):
                    del reports[prober]
                    self._count -= 1
            if not reports:
                del self._subnets[netuid]

    def reach(self, netuid: int, hotkey: AccountId, now: Micros) -> Reach:
        """What the probers of a subnet say of one hotkey."""
        return self.reach_of_all(netuid, (hotkey,), now)[hotkey]

    def reach_of_all(self, netuid: int, hotkeys: Iterable[AccountId], now: Micros) -> dict[AccountId, Reach]:
        """`reach` of many hotkeys, as a metagraph wants it."""
        alive = [report for report in self._subnets.get(netuid, {}).values() if report.taken + REPORT_LIFETIME > now]
        found = {}
        for hotkey in hotkeys:
            words = [report.latencies[hotkey] for report in alive if hotkey in report.latencies]
            times = [ms for ms in words if ms is not None]
            found[hotkey] = Reach(len(times), len(words), int(median(times)) if times else None)
        return found


class ReachGossip:
    """Spreads and takes in the reports of one book: size -> decode -> quota -> the book's lookups -> signature."""

    def __init__(
        self,
        transport: Transport,
        names: NetworkNames,
        book: ReachBook,
        clock: Clock,
        penalties: Penalties,
        *,
        seconds: Callable[[], float] = trio.current_time,
    ) -> None:
        self._transport = transport
        self._topic = names.lasting_topic("reach")
        self._book = book
        self._clock = clock
        self._penalties = penalties
        self._seconds = seconds
        self._senders = PeerBuckets(RELAYED_REPORTS)
        self.counters: Counter[str] = Counter()
        """By outcome."""

    def subscribe(self) -> None:
        """Join the topic."""
        self._transport.subscribe(self._topic, self.validate)

    async def publish(self, report: ReachReport) -> str:
        """Keep a report of our own and spread it if it was kept; gives the book's outcome."""
        outcome = self._book.add(report, self._clock.now())
        if outcome == "accept":
            await self._transport.publish(self._topic, encode_report(report))
        return outcome

    def validate(self, sender: PeerId, data: bytes) -> GossipVerdict:
        """The topic's validator."""
        try:
            report = decode_report(data)
            now = self._seconds()
            if self._senders.of(sender, now).take_if_free(1, now):
                outcome = self._book.add(report, self._clock.now())
            else:
                outcome = "flood"
        except (MalformedError, InvalidError) as error:
            self.counters[error.code] += 1
            self._penalties.offend(sender, Offence.MALFORMED)
            return GossipVerdict.REJECT
        self.counters[outcome] += 1
        if outcome != "accept":
            return GossipVerdict.IGNORE
        self._penalties.useful(sender)
        return GossipVerdict.ACCEPT
