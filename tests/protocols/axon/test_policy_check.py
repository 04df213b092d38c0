"""Who may call: every combination a policy can ask for, and what a caller who may not is told."""

from __future__ import annotations

import pytest
from yumad.consensus.types import AccountId
from yumad.protocols.axon.caller_limiter import CallerLimiter
from yumad.protocols.axon.interfaces import Freshness, ServedMethod, Standing
from yumad.protocols.axon.policy import Policy, Quota
from yumad.protocols.axon.policy_check import in_units, judge
from yumad.protocols.axon.status import Status

TAO = 1_000_000_000
ME, OTHER = AccountId(bytes([1]) * 32), AccountId(bytes([2]) * 32)
STRANGER = Standing(None, False, 0)
MINER = Standing(9, False, 5 * TAO)
VALIDATOR = Standing(3, True, 50 * TAO)
OPEN = Policy(require_permit=False)


def status(
    policy: Policy, standing: Standing, freshness: Freshness = Freshness.FRESH, known: bool = False
) -> Status | None:
    verdict = judge(policy, ME, standing, freshness, known, 4)
    return None if verdict is None else verdict[0]


@pytest.mark.parametrize(
    ("policy", "standing", "expected"),
    [
        (Policy(), VALIDATOR, None),
        (Policy(), MINER, Status.NO_PERMIT),
        (Policy(), STRANGER, Status.NOT_REGISTERED),
        (Policy(), Standing(None, False, 500 * TAO), Status.NOT_REGISTERED),
        (Policy(min_stake=50 * TAO), VALIDATOR, None),
        (Policy(min_stake=50 * TAO + 1), VALIDATOR, Status.LOW_STAKE),
        (OPEN, MINER, None),
        (OPEN, STRANGER, Status.NOT_REGISTERED),
        (Policy(require_permit=False, min_stake=5 * TAO), MINER, None),
        (Policy(require_permit=False, min_stake=6 * TAO), MINER, Status.LOW_STAKE),
        (Policy(require_permit=False, min_stake=6 * TAO), Standing(None, False, 6 * TAO), None),
        (Policy(require_permit=False, min_stake=6 * TAO), STRANGER, Status.LOW_STAKE),
        (Policy(deny=frozenset({ME})), VALIDATOR, Status.DENIED),
        (Policy(allow=frozenset({OTHER})), VALIDATOR, Status.DENIED),
        (Policy(allow=frozenset({ME})), VALIDATOR, None),
        (Policy(allow=frozenset({ME})), STRANGER, Status.NOT_REGISTERED),
        (Policy(allow=frozenset({ME}), deny=frozenset({ME})), VALIDATOR, Status.DENIED),
    ],
)
def test_r21_a_policy_lets_in_exactly_whom_it_names(
    policy: Policy, standing: Standing, expected: Status | None
) -> None:
    assert status(policy, standing) is expected


def test_r21_the_refusal_for_low_stake_says_what_to_stake_and_where() -> None:
    verdict = judge(Policy(min_stake=53_200_000_000), ME, VALIDATOR, Freshness.FRESH, False, 4)
    assert verdict == (
        Status.LOW_STAKE,
        "3200000000 rao of stake weight are missing: stake 3.2 more on subnet 4 (alpha counts in full, TAO on root by "
        "the chain's root weight; needed 53.2, found 50)",
    )


@pytest.mark.parametrize(("rao", "text"), [(0, "0"), (1, "0.000000001"), (TAO, "1"), (1_500_000_000, "1.5")])
def test_r21_amounts_are_told_exactly(rao: int, text: str) -> None:
    assert in_units(rao) == text


def test_r23_far_behind_the_chain_only_known_callers_are_served() -> None:
    assert status(Policy(), VALIDATOR, Freshness.DEGRADED) is None
    assert status(Policy(), VALIDATOR, Freshness.KNOWN_ONLY) is Status.BUSY
    assert status(Policy(), VALIDATOR, Freshness.KNOWN_ONLY, known=True) is None


def test_r23_being_known_opens_nothing_else() -> None:
    assert status(Policy(), MINER, Freshness.KNOWN_ONLY, known=True) is Status.NO_PERMIT
    assert status(Policy(deny=frozenset({ME})), VALIDATOR, Freshness.KNOWN_ONLY, known=True) is Status.DENIED


def limited(rate: float, burst: int) -> ServedMethod:
    return ServedMethod("echo", policy=Policy(quota=Quota(rate, burst)))


def test_r6_r21_a_caller_has_its_burst_at_once_and_its_rate_for_ever() -> None:
    limiter, method = CallerLimiter(), limited(20, 40)
    assert [limiter.take(ME, 4, method, 100.0) for _ in range(41)] == [0] * 40 + [50]
    served = sum(limiter.take(ME, 4, method, 100 + step / 1000) == 0 for step in range(1, 10_001))
    assert served == pytest.approx(200, abs=1)


def test_r6_r21_waiting_as_long_as_told_is_enough() -> None:
    limiter, method = CallerLimiter(), limited(3, 1)
    now = 7.0
    assert limiter.take(ME, 4, method, now) == 0
    for _ in range(50):
        wait = limiter.take(ME, 4, method, now)
        assert wait in (333, 334)
        now += (wait + 1) / 1000
        assert limiter.take(ME, 4, method, now) == 0


def test_r6_r21_quotas_are_kept_apart_by_caller_subnet_method_and_served_hotkey() -> None:
    limiter, method = CallerLimiter(), limited(1, 1)
    assert limiter.take(ME, 4, method, 0) == 0
    assert limiter.take(ME, 4, method, 0) == 1000
    assert limiter.take(OTHER, 4, method, 0) == 0
    assert limiter.take(ME, 5, method, 0) == 0
    assert limiter.take(ME, 4, ServedMethod("other", policy=method.policy), 0) == 0
    assert limiter.take(ME, 4, method, 0, OTHER) == 0


def test_r6_r19_the_limiter_remembers_a_bounded_number_of_callers() -> None:
    limiter, method = CallerLimiter(most=100), limited(1, 1)
    for number in range(1000):
        limiter.take(AccountId(number.to_bytes(32, "big")), 4, method, 0)
    assert len(limiter) == 100


def test_r21_a_quota_of_zero_serves_one_call_an_hour_rather_than_failing() -> None:
    limiter, method = CallerLimiter(), limited(0, 0)
    assert limiter.take(ME, 4, method, 0) == 0
    assert limiter.take(ME, 4, method, 0) == 3_600_000
