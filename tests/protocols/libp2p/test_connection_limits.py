"""Admission: caps, evictions, bans. No sockets: slots and a clock by hand."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from yumad.protocols.libp2p import connection_limits
from yumad.protocols.libp2p.connection_limits import Admission, ConnectionLimits, Refusal, Slot
from yumad.protocols.transport import PeerId


@dataclass
class Door:
    """An admission with the evictions it ordered."""

    admission: Admission
    evicted: list[str] = field(default_factory=list)
    spoke: dict[str, float] = field(default_factory=dict)

    def arrive(self, name: str, host: str, now: float) -> Slot | Refusal:
        return self.admission.arrive(
            host, now, evict=lambda: self.evicted.append(name), heard=lambda: self.spoke.get(name)
        )


def _door(limits: ConnectionLimits, standing: dict[str, float] | None = None) -> Door:
    return Door(Admission(limits, standing=lambda peer: (standing or {}).get(peer, 0.0)))


def _connect(door: Door, name: str, host: str, now: float = 0.0) -> Refusal | None:
    slot = door.arrive(name, host, now)
    return slot if isinstance(slot, Refusal) else door.admission.establish(slot, PeerId(name), now)


def test_full_pending_pool_gives_up_its_oldest_silent_socket() -> None:
    door = _door(ConnectionLimits(pending=3))
    for name in "abc":
        assert isinstance(door.arrive(name, "127.0.0.1", 0.0), Slot)
    door.spoke["a"] = 0.0
    assert isinstance(door.arrive("d", "127.0.0.1", 0.0), Slot)
    assert door.evicted == ["b"]


def test_full_pending_pool_of_speakers_gives_up_the_one_that_stalled_longest_after_its_grace() -> None:
    door = _door(ConnectionLimits(pending=2))
    door.arrive("a", "127.0.0.1", 0.0)
    door.arrive("b", "127.0.0.1", 0.0)
    door.spoke.update(a=0.2, b=0.1)
    assert door.arrive("c", "127.0.0.1", 0.3) is Refusal.PENDING
    assert isinstance(door.arrive("d", "127.0.0.1", 0.4), Slot)
    assert door.evicted == ["b"]


def test_pending_of_one_address_is_capped_but_not_on_loopback() -> None:
    door = _door(ConnectionLimits(pending_per_address=2))
    assert isinstance(door.arrive("a", "8.8.8.8", 0.0), Slot)
    assert isinstance(door.arrive("b", "8.8.8.8", 0.0), Slot)
    assert door.arrive("c", "8.8.8.8", 0.0) is Refusal.PENDING
    for name in "defg":
        assert isinstance(door.arrive(name, "127.0.0.1", 0.0), Slot)


def test_address_and_network_caps_bind_and_loosen_when_a_connection_leaves() -> None:
    door = _door(ConnectionLimits(per_address=2, per_network=3))
    slots = []
    for number, host in enumerate(["8.8.8.1", "8.8.8.1", "8.8.8.2"]):
        slot = door.arrive(str(number), host, 0.0)
        assert isinstance(slot, Slot)
        assert door.admission.establish(slot, PeerId(str(number)), 0.0) is None
        slots.append(slot)
    assert door.arrive("x", "8.8.8.1", 0.0) is Refusal.ADDRESS
    assert door.arrive("x", "8.8.8.3", 0.0) is Refusal.NETWORK
    assert _connect(door, "y", "8.8.9.1") is None
    door.admission.leave(slots[0])
    assert _connect(door, "z", "8.8.8.3") is None


def test_mapped_ipv4_address_counts_as_its_ipv4_network() -> None:
    door = _door(ConnectionLimits(per_address=5, per_network=1))
    assert _connect(door, "a", "8.8.8.1") is None
    assert _connect(door, "b", "::ffff:8.8.8.2") is Refusal.NETWORK
    assert _connect(door, "c", "2001:db8::1") is None
    assert _connect(door, "d", "2001:db8:0:ffff::1") is Refusal.NETWORK


def test_private_range_is_exempt_only_when_asked_for() -> None:
    assert _connect_two("10.0.0.1", ConnectionLimits(per_address=1)) is Refusal.ADDRESS
    assert _connect_two("10.0.0.1", ConnectionLimits(per_address=1, exempt_private=True)) is None


def _connect_two(host: str, limits: ConnectionLimits) -> Refusal | None:
    door = _door(limits)
    assert _connect(door, "a", host) is None
    return _connect(door, "b", host)


def test_inbound_leaves_room_for_outbound() -> None:
    door = _door(ConnectionLimits(total=4, reserved_outbound=2))
    assert _connect(door, "a", "127.0.0.1") is None
    assert _connect(door, "b", "127.0.0.1") is None
    assert _connect(door, "c", "127.0.0.1") is Refusal.TOTAL
    assert door.admission.may_dial()
    for name in "de":
        door.admission.dialed("9.9.9.9", PeerId(name), 0.0, evict=lambda: None)
    assert not door.admission.may_dial()


def test_full_house_gives_the_place_of_the_worst_and_youngest_to_a_better_one() -> None:
    door = _door(ConnectionLimits(total=4, reserved_outbound=1), {"good": 5.0, "bad": -3.0, "best": 20.0})
    for now, name in enumerate(["good", "bad", "new"]):
        assert _connect(door, name, "127.0.0.1", float(now)) is None
    assert _connect(door, "stranger", "127.0.0.1", 5.0) is None
    assert door.evicted == ["bad"]
    assert _connect(door, "another", "127.0.0.1", 6.0) is Refusal.TOTAL
    assert _connect(door, "best", "127.0.0.1", 7.0) is None
    assert door.evicted == ["bad", "stranger"]


def test_ban_ends_at_its_time_and_the_longer_one_stands() -> None:
    door = _door(ConnectionLimits())
    door.admission.ban(PeerId("a"), 10.0)
    door.admission.ban(PeerId("a"), 5.0)
    assert _connect(door, "a", "127.0.0.1", 9.0) is Refusal.BANNED
    assert _connect(door, "a", "127.0.0.1", 10.0) is None


def test_bans_are_bounded(monkeypatch) -> None:
    monkeypatch.setattr(connection_limits, "MAX_BANS", 3)
    door = _door(ConnectionLimits())
    for number in range(10):
        door.admission.ban(PeerId(str(number)), 100.0 + number)
    assert [number for number in range(10) if door.admission.is_banned(PeerId(str(number)), 1.0)] == [7, 8, 9]


def test_arrivals_of_one_address_are_limited_by_rate() -> None:
    door = _door(ConnectionLimits(pending_per_address=1000, arrivals_burst=5, arrivals_per_second=2))
    outcomes = [door.arrive(str(number), "8.8.8.8", 0.0) for number in range(8)]
    assert outcomes.count(Refusal.RATE) == 3
    assert isinstance(door.arrive("later", "8.8.8.8", 0.5), Slot)


def test_arrivals_remembered_are_bounded_and_the_longest_silent_goes_first(monkeypatch) -> None:
    monkeypatch.setattr(connection_limits, "MAX_ARRIVALS", 3)
    door = _door(ConnectionLimits(pending_per_address=1000, arrivals_burst=2, arrivals_per_second=1))
    for number in range(10):
        assert isinstance(door.arrive("busy", "9.9.9.9", float(number)), Slot)
        door.arrive(str(number), f"8.8.8.{number}", float(number))
    assert len(door.admission._arrivals) == 3
    door.arrive("busy", "9.9.9.9", 9.0)
    assert door.arrive("busy", "9.9.9.9", 9.0) is Refusal.RATE


def test_addresses_of_one_ipv6_host_share_its_caps() -> None:
    hosts = [f"2001:db8::{number:x}" for number in range(1, 9)]
    door = _door(ConnectionLimits(pending_per_address=1000, arrivals_burst=5))
    assert [door.arrive(host, host, 0.0) for host in hosts].count(Refusal.RATE) == 3
    door = _door(ConnectionLimits(pending_per_address=2))
    assert [door.arrive(host, host, 0.0) for host in hosts].count(Refusal.PENDING) == 6
    door = _door(ConnectionLimits(per_address=2))
    assert [_connect(door, host, host) for host in hosts].count(Refusal.ADDRESS) == 6
    assert _connect(door, "neighbour", "2001:db8:0:1::1") is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["arrive", "establish", "leave", "dial"]),
            st.integers(0, 9),
            st.sampled_from(["127.0.0.1", "8.8.8.1", "8.8.8.2", "2001:db8::1"]),
        ),
        max_size=80,
    )
)
def test_any_history_keeps_every_cap(steps: list[tuple[str, int, str]]) -> None:
    limits = ConnectionLimits(total=6, reserved_outbound=2, pending=3, per_address=2, per_network=3)
    admission = Admission(limits, standing=lambda peer: float(len(peer)))
    slots: list[Slot] = []
    for now, (step, number, host) in enumerate(steps):
        if step == "arrive":
            slot = admission.arrive(host, float(now), evict=lambda: None, heard=lambda: None)
            if isinstance(slot, Slot):
                slots.append(slot)
        elif step == "establish" and slots:
            admission.establish(slots[number % len(slots)], PeerId("p" * number), float(now))
        elif step == "leave" and slots:
            admission.leave(slots.pop(number % len(slots)))
        elif step == "dial" and admission.may_dial():
            slots.append(admission.dialed(host, PeerId("d"), float(now), evict=lambda: None))
        assert admission.pending <= limits.pending
        assert admission.established <= limits.total
