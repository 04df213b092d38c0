"""The mempool: order of admission, verdicts, bounds, replacement, eviction and the order of a block (CHAIN 3)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from yumad.consensus.chain_spec import ChainSpec
from yumad.consensus.chain_spec_toml import load_chain_spec_toml
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.rules.v1.calls.call import Call
from yumad.consensus.rules.v1.calls.table import call_named
from yumad.consensus.transaction import (
    MORTALITY,
    TransactionDomain,
    decode_transaction,
    encode_transaction,
    sign_transaction,
    transaction_bytes_hash,
)
from yumad.consensus.types import AccountId, Hash32, Height
from yumad.daemon import mempool_lanes
from yumad.daemon.admission import Verdict
from yumad.daemon.mempool import MAX_PER_SIGNER, NONCES_AHEAD, Mempool
from yumad.daemon.mempool_lanes import Lane, LaneBounds
from yumad.protocols.transport import GossipVerdict

DOMAIN = TransactionDomain(Hash32(b"g" * 32), b"fork")
OTHER_DOMAIN = TransactionDomain(Hash32(b"h" * 32), b"fork")
TRANSFER = call_named("balances.transfer_keep_alive")
HEARTBEAT = call_named("authority.heartbeat")
DEST = b"d" * 32
assert TRANSFER is not None and HEARTBEAT is not None


def small_spec() -> ChainSpec:
    """A development spec; the pool reads its fees only."""
    return load_chain_spec_toml('name = "pool"\nprofile = "dev"\ngenesis_time = 1\nsalt = "00"\n', check=False)


class FakeState:
    """A chain of numbers."""

    def __init__(self) -> None:
        self.at = 10
        self.nonces: dict[bytes, int] = {}
        self.balances: dict[bytes, int] = {}
        self.lacking: dict[bytes, str] = {}

    def refresh(self) -> None:
        pass

    def height(self) -> Height:
        return Height(self.at)

    def next_nonce(self, account: AccountId) -> int:
        return self.nonces.get(account, 0)

    def balance(self, account: AccountId) -> int:
        return self.balances.get(account, 10**12)

    def free_call_precheck(self, signer: AccountId, call: Call, arguments: tuple[Any, ...]) -> str | None:
        return self.lacking.get(signer)


def paid(
    name: str,
    nonce: int = 0,
    *,
    tip: int = 0,
    amount: int = 1,
    domain: TransactionDomain = DOMAIN,
    valid_until: int = 100,
) -> bytes:
    """A transfer of the dev account `name`."""
    return encode_transaction(
        sign_transaction(
            domain, dev_keypair(name), nonce=nonce, valid_until=valid_until, call=0, args=[DEST, amount], tip=tip
        )
    )


def free(name: str, nonce: int = 0, *, tip: int = 0, peer_id: bytes = b"peer") -> bytes:
    """A heartbeat of the dev account `name`."""
    return encode_transaction(
        sign_transaction(
            DOMAIN, dev_keypair(name), nonce=nonce, valid_until=100, call=HEARTBEAT.number, args=[peer_id], tip=tip
        )
    )


@pytest.fixture
def state() -> FakeState:
    return FakeState()


@pytest.fixture
def pool(state: FakeState) -> Mempool:
    return Mempool(DOMAIN, small_spec(), state)


def key(name: str) -> AccountId:
    return AccountId(dev_keypair(name).public_key)


# --- verdicts ---------------------------------------------------------------------------------------------------------


def test_admission_of_a_good_transfer_accepts_and_pools_it(pool: Mempool) -> None:
    data = paid("alice")
    admission = pool.admit(data)
    assert (admission.verdict, admission.code) == (Verdict.ACCEPT, "accepted")
    assert pool.get(transaction_bytes_hash(data)) == data
    assert pool.is_verified(admission.hash)
    assert admission.id is not None and pool.find(admission.id) is not None


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "malformed"),
        (b"\xff" * 100, "malformed"),
        (b"\x80" * 70_000, "oversize"),
        (paid("alice") + b"\0", "malformed"),
        (paid("alice", domain=OTHER_DOMAIN), "bad_signature"),
        (paid("alice")[:-1] + b"\x01", "bad_signature"),
    ],
)
def test_admission_of_hostile_bytes_rejects(pool: Mempool, data: bytes, code: str) -> None:
    admission = pool.admit(data)
    assert (admission.verdict, admission.code) == (Verdict.REJECT, code)
    assert pool.stats().transactions == 0


def signed(call: int, args: list[Any], **fields: int) -> bytes:
    return encode_transaction(
        sign_transaction(
            DOMAIN, dev_keypair("alice"), call=call, args=args, **{"nonce": 0, "valid_until": 100} | fields
        )
    )


def test_admission_of_an_unknown_call_rejects(pool: Mempool) -> None:
    assert pool.admit(signed(0xEE00, [])).code == "unknown_call"


def test_admission_of_wrong_arguments_rejects_and_remembers_it(pool: Mempool) -> None:
    data = signed(0, [DEST, -1])
    assert (pool.admit(data).verdict, pool.admit(data).verdict) == (Verdict.REJECT, Verdict.IGNORE)
    assert pool.admit(data).code == "seen"


def test_admission_of_an_ordinary_call_above_4_kib_rejects(pool: Mempool) -> None:
    admission = pool.admit(signed(0, [DEST, b"x" * 5000]))
    assert (admission.verdict, admission.code) == (Verdict.REJECT, "oversize")


@pytest.mark.parametrize(
    ("valid_until", "code"),
    [(10, "expired"), (11, "accepted"), (11 + MORTALITY, "accepted"), (12 + MORTALITY, "future")],
)
def test_valid_until_window_at_its_edges(pool: Mempool, valid_until: int, code: str) -> None:
    assert pool.admit(paid("alice", valid_until=valid_until)).code == code


@pytest.mark.parametrize(
    ("nonce", "code"),
    [(2, "nonce_too_low"), (3, "accepted"), (3 + NONCES_AHEAD, "accepted"), (4 + NONCES_AHEAD, "nonce_too_far")],
)
def test_nonce_window_at_its_edges(pool: Mempool, state: FakeState, nonce: int, code: str) -> None:
    state.nonces[key("alice")] = 3
    assert pool.admit(paid("alice", nonce)).code == code


def test_admission_of_a_copy_ignores_it(pool: Mempool) -> None:
    first = pool.admit(paid("alice"))
    again = pool.admit(paid("alice"))
    assert (again.verdict, again.code, again.id) == (Verdict.IGNORE, "seen", first.id)


def test_admission_of_what_the_signer_cannot_pay_ignores_it(pool: Mempool, state: FakeState) -> None:
    fee = small_spec().fees.of(0, len(paid("alice")))
    state.balances[key("alice")] = 2 * fee + 5
    assert pool.admit(paid("alice", 0)).code == "accepted"
    assert pool.admit(paid("alice", 1, tip=23)).code == "cannot_pay"
    assert pool.admit(paid("alice", 1)).code == "accepted"
    assert pool.admit(paid("alice", 2)).code == "cannot_pay"


def test_admission_of_a_free_call_without_the_right_ignores_it_by_the_errors_name(
    pool: Mempool, state: FakeState
) -> None:
    state.lacking[key("alice")] = "HeartbeatTooSoon"
    admission = pool.admit(free("alice"))
    assert (admission.verdict, admission.code) == (Verdict.IGNORE, "HeartbeatTooSoon")
    del state.lacking[key("alice")]
    assert pool.admit(free("alice")).code == "accepted"


def test_admission_of_what_was_signed_for_the_rules_before_ignores_it(pool: Mempool) -> None:
    old = paid("alice")
    pool.admit(old)
    pool.change_domain(OTHER_DOMAIN)
    assert pool.stats().transactions == 0
    assert not pool.is_verified(transaction_bytes_hash(old))
    assert (pool.admit(old).verdict, pool.admit(old).code) == (Verdict.IGNORE, "stale_domain")


def test_signature_checked_by_gossip_for_another_domain_is_checked_again(pool: Mempool) -> None:
    forged = paid("alice")[:-1] + b"\x01"
    assert pool.admit(forged, verified_for=OTHER_DOMAIN).code == "bad_signature"


def test_refused_hashes_are_bounded_and_forgotten_with_the_era(pool: Mempool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yumad.daemon.mempool.MAX_REJECTED", 3)
    refused = [signed(0, [DEST, -1 - number]) for number in range(4)]
    for data in refused:
        assert pool.admit(data).code == "malformed_arguments"
    assert pool.admit(refused[3]).code == "seen"
    assert pool.admit(refused[0]).code == "malformed_arguments", "the oldest was forgotten"
    pool.new_era()
    assert pool.admit(refused[3]).code == "malformed_arguments"


def test_gossip_gate_judges_before_the_signature_as_admission_would(pool: Mempool, state: FakeState) -> None:
    def judged(data: bytes) -> GossipVerdict:
        return pool.judge(decode_transaction(data), transaction_bytes_hash(data), len(data))

    assert judged(paid("alice")) is GossipVerdict.ACCEPT
    assert judged(signed(0xEE00, [])) is GossipVerdict.REJECT
    assert judged(signed(0, [DEST, b"x" * 5000])) is GossipVerdict.REJECT
    assert judged(paid("alice", valid_until=10)) is GossipVerdict.IGNORE
    state.nonces[key("alice")] = 1
    pool.admit(paid("alice", 1))
    assert judged(paid("alice", 1)) is GossipVerdict.IGNORE
    assert judged(paid("alice", 0)) is GossipVerdict.IGNORE


# --- replacement ------------------------------------------------------------------------------------------------------


def test_replacement_needs_a_quarter_more_tip_and_the_smallest_fee(state: FakeState) -> None:
    pool = Mempool(DOMAIN, small_spec(), state, min_tip=10)
    assert pool.admit(paid("alice", tip=0)).code == "accepted"
    assert pool.admit(paid("alice", tip=9)).code == "underpriced"
    assert pool.admit(paid("alice", tip=10)).code == "accepted"
    assert pool.admit(paid("alice", tip=100)).code == "accepted"
    assert pool.admit(paid("alice", tip=124)).code == "underpriced"
    assert pool.admit(paid("alice", tip=125)).code == "accepted"
    assert pool.stats().transactions == 1


def test_replacement_of_a_free_call_happens_once_per_block(pool: Mempool, state: FakeState) -> None:
    assert [pool.admit(free("alice", peer_id=p)).code for p in (b"a", b"b", b"c")] == [
        "accepted",
        "accepted",
        "replaced_already",
    ]
    state.at += 1
    assert pool.admit(free("alice", peer_id=b"c")).code == "accepted"


# --- bounds and eviction ----------------------------------------------------------------------------------------------


def test_signer_holds_sixteen_at_most(pool: Mempool) -> None:
    assert all(pool.admit(paid("alice", nonce)).code == "accepted" for nonce in range(MAX_PER_SIGNER))
    assert pool.admit(paid("alice", MAX_PER_SIGNER)).verdict is Verdict.IGNORE
    assert pool.stats().transactions == MAX_PER_SIGNER


@pytest.fixture
def tiny(state: FakeState, monkeypatch: pytest.MonkeyPatch) -> Mempool:
    """A pool of three paid and two operational slots."""
    bounds = {Lane.OPERATIONAL: LaneBounds(2, 10_000), Lane.PAID: LaneBounds(3, 10_000)}
    monkeypatch.setattr("yumad.daemon.mempool.BOUNDS", bounds)
    return Mempool(DOMAIN, small_spec(), state)


def test_full_pool_evicts_the_lowest_tip_per_byte_then_the_oldest(tiny: Mempool) -> None:
    low_old, low_new, high = paid("a", tip=5), paid("b", tip=5), paid("c", tip=50)
    for data in (low_old, low_new, high):
        assert tiny.admit(data).code == "accepted"
    assert tiny.admit(paid("d", tip=1)).code == "pool_full"
    assert tiny.admit(paid("e", tip=60)).code == "accepted"
    assert tiny.get(transaction_bytes_hash(low_old)) is None
    assert tiny.get(transaction_bytes_hash(low_new)) is not None


def test_full_pool_evicts_what_waits_for_an_absent_nonce_first(tiny: Mempool) -> None:
    """What cannot be included pays nothing, so a promised tip buys no place."""
    gapped = paid("rich", 5, tip=10**6)
    tiny.admit(gapped)
    tiny.admit(paid("a"))
    tiny.admit(paid("b"))
    assert tiny.admit(paid("richer", 5, tip=10**7)).code == "accepted"
    assert tiny.get(transaction_bytes_hash(gapped)) is None
    assert tiny.admit(paid("c")).code == "accepted"
    assert tiny.stats().ready == 3


def test_paid_flood_leaves_the_operational_lane_its_slots(tiny: Mempool) -> None:
    for number in range(6):
        tiny.admit(paid(f"spam{number}", tip=10**6))
    assert tiny.admit(free("alice")).code == "accepted"
    assert tiny.candidates(10_000)[0] == free("alice")


def test_space_is_asked_for_before_the_signature_is_checked(tiny: Mempool) -> None:
    for name in ("a", "b", "c"):
        tiny.admit(paid(name, tip=9))
    assert tiny.admit(paid("d")[:-1] + b"\x01").code == "pool_full"
    assert tiny.admit(paid("d", tip=10)[:-1] + b"\x01").code == "bad_signature"
    assert tiny.stats().transactions == 3


# --- order ------------------------------------------------------------------------------------------------------------


def test_candidates_come_operational_first_then_by_tip_under_nonce_order(pool: Mempool) -> None:
    alice = [paid("alice", 0, tip=0), free("alice", 1), paid("alice", 2, tip=10**6)]
    bob = [paid("bob", 0, tip=500)]
    carol = [free("carol", 0)]
    gap = paid("dave", 1, tip=10**8)
    for data in (*alice, *bob, *carol, gap):
        assert pool.admit(data).code == "accepted"
    assert pool.candidates(10**6) == [carol[0], bob[0], *alice]


def test_candidates_stay_within_the_byte_limit(pool: Mempool) -> None:
    for number in range(5):
        pool.admit(paid(f"n{number}"))
    size = len(paid("n0"))
    assert len(pool.candidates(3 * size)) == 3


# --- the chain moves --------------------------------------------------------------------------------------------------


def test_after_a_block_included_used_and_expired_ones_are_gone(pool: Mempool, state: FakeState) -> None:
    for nonce in range(3):
        pool.admit(paid("alice", nonce))
    pool.admit(paid("bob", valid_until=11))
    state.at, state.nonces[key("alice")] = 11, 2
    pool.after_block([paid("alice", 0), paid("alice", 1, amount=2)], Height(11))
    assert pool.candidates(10**6) == [paid("alice", 2)]
    assert pool.next_nonce(key("alice")) == 3


def test_after_a_block_free_calls_that_lost_their_right_are_gone(pool: Mempool, state: FakeState) -> None:
    pool.admit(free("alice", 0))
    pool.admit(free("alice", 1))
    state.at, state.nonces[key("alice")] = 11, 1
    state.lacking[key("alice")] = "HeartbeatTooSoon"
    pool.after_block([free("alice", 0)], Height(11))
    assert pool.stats().transactions == 0


def test_requeue_takes_an_abandoned_tips_transactions_in_again(pool: Mempool, state: FakeState) -> None:
    data = paid("alice")
    pool.admit(data)
    state.at, state.nonces[key("alice")] = 11, 1
    pool.after_block([data], Height(11))
    assert pool.stats().transactions == 0
    state.at, state.nonces[key("alice")] = 10, 0
    assert pool.requeue([[data]]) == 1
    assert pool.candidates(10**6) == [data]


def test_why_waiting_names_the_missing_nonce_the_balance_and_the_builders_reason(
    pool: Mempool, state: FakeState
) -> None:
    gapped, poor, skipped = (pool.admit(d) for d in (paid("alice", 2), paid("bob"), paid("carol")))
    state.balances[key("bob")] = 0
    pool.note_skipped([(skipped.hash, "BlockFull")])
    assert "nonce 0 of the signer comes first" in (pool.why_waiting(gapped.hash) or "")
    assert "the signer can spend 0" in (pool.why_waiting(poor.hash) or "")
    assert "BlockFull" in (pool.why_waiting(skipped.hash) or "")
    assert pool.why_waiting(Hash32(bytes(32))) is None


def test_own_transactions_are_listed_oldest_first(pool: Mempool) -> None:
    pool.admit(paid("bob"))
    pool.admit(paid("alice", 0), own=True)
    pool.admit(paid("carol", tip=10**6), own=True)
    assert pool.own() == [paid("alice", 0), paid("carol", tip=10**6)]


# --- whatever happens -------------------------------------------------------------------------------------------------

SIGNERS = ("a", "b", "c", "d")


class PoolMachine(RuleBasedStateMachine):
    """Random admissions and blocks against bounds of a few slots."""

    @initialize()
    def make(self) -> None:
        self.saved = dict(mempool_lanes.BOUNDS)
        mempool_lanes.BOUNDS[Lane.PAID] = LaneBounds(6, 1200)
        mempool_lanes.BOUNDS[Lane.OPERATIONAL] = LaneBounds(3, 500)
        self.state = FakeState()
        self.pool = Mempool(DOMAIN, small_spec(), self.state, min_tip=3)

    def teardown(self) -> None:
        mempool_lanes.BOUNDS.update(self.saved)

    @rule(
        name=st.sampled_from(SIGNERS),
        nonce=st.integers(0, 6),
        tip=st.sampled_from([0, 1, 4, 300, 70_000]),
        is_free=st.booleans(),
    )
    def offer(self, name: str, nonce: int, tip: int, is_free: bool) -> None:
        self.pool.admit(free(name, nonce, tip=tip) if is_free else paid(name, nonce, tip=tip))

    @rule(name=st.sampled_from(SIGNERS), balance=st.sampled_from([0, 200_000, 10**12]))
    def set_balance(self, name: str, balance: int) -> None:
        self.state.balances[key(name)] = balance

    @rule(count=st.integers(0, 4))
    def block(self, count: int) -> None:
        included = self.pool.candidates(10**6)[:count]
        for data in included:
            entry = self.pool.find(transaction_bytes_hash(data))
            assert entry is not None
            assert entry.transaction.nonce == self.state.next_nonce(entry.transaction.signer), "nonce order"
            self.state.nonces[entry.transaction.signer] = entry.transaction.nonce + 1
        self.state.at += 1
        self.pool.after_block(included, self.state.height())

    @invariant()
    def bounds_hold(self) -> None:
        if not hasattr(self, "pool"):
            return
        entries = self.pool.entries()
        by_lane = {lane: [e for e in entries if e.lane is lane] for lane in Lane}
        for lane, held in by_lane.items():
            bounds = mempool_lanes.BOUNDS[lane]
            assert len(held) <= bounds.transactions
            assert sum(len(e.data) for e in held) <= bounds.size
        stats = self.pool.stats()
        assert (stats.transactions, stats.size) == (len(entries), sum(len(e.data) for e in entries))
        assert len({e.hash for e in entries}) == len({(e.transaction.signer, e.transaction.nonce) for e in entries})
        for entry in entries:
            lower = range(self.state.next_nonce(entry.transaction.signer), entry.transaction.nonce)
            present = {e.transaction.nonce for e in entries if e.transaction.signer == entry.transaction.signer}
            assert entry.ready == all(nonce in present for nonce in lower)
        lanes = [self.pool.find(transaction_bytes_hash(data)) for data in self.pool.candidates(10**6)]
        assert len(lanes) == stats.ready


PoolMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=25)
TestPoolNeverExceedsItsBounds = PoolMachine.TestCase
