"""Planted bugs of rounding, order and missing checks: the shipped vectors notice each of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from yumad.consensus.fixed_point import U64F64, U96F32, UQ64
from yumad.consensus.rules.v1.dtao import accrual, coinbase, distribution, injection, pool, shares, units
from yumad.consensus.rules.v1.dtao.economy import Subnet
from yumad.consensus.rules.v1.dtao.pool import Pool, Side
from yumad.daemon import vector_coinbase, vector_distribution, vector_pools
from yumad.daemon.vector_files import check_file

RULES = (accrual, coinbase, distribution, injection, pool, shares, units, vector_coinbase, vector_pools)


def unrounded_share(share: int, value: int) -> int:
    """Rounding: `mulround` without its half."""
    return share * value // 10**18


def ceiled_root_proportion(root: U96F32, issuance: int) -> U96F32:
    """Rounding: up instead of down."""
    total = root + (issuance << 32)
    return U96F32(-((-root << 32) // total) if total else 0)


def price_of_one_division(tao: int, alpha: int, quote_weight: int) -> U64F64:
    """Rounding: one truncation instead of three."""
    if alpha == 0 or quote_weight == 0:
        return U64F64(0)
    return U64F64(((10**18 - quote_weight) * tao << 64) // (quote_weight * alpha))


def reserves_before_the_buy(given: Pool, terms: injection.Terms, credit: int) -> injection.Injection:
    """Order: the chain buys from reserves that already have the injection."""
    none = injection.Terms(terms.tao_in, terms.alpha_in, terms.alpha_out, U96F32(0))
    first = REAL_INJECT(given, none, credit)
    buy = injection.Terms(U96F32(0), U96F32(0), terms.alpha_out, terms.excess)
    second = REAL_INJECT(first.pool, buy, credit - first.spent)
    return second._replace(tao_in=first.tao_in, alpha_in=first.alpha_in, spent=first.spent + second.spent)


REAL_INJECT: Any = injection.inject


def share_of_spot_price(subnets: list[Subnet], gate: object) -> list[U64F64]:
    """Order: demand by the spot price, not by the moving one."""
    return shares._normalised([pool.spot_price(subnet.pool) for subnet in subnets])


def swap_without_the_limit_check(given: Pool, side: Side, amount: int, limit: U64F64, **more: bool) -> Any:
    """Missing check: a limit on the wrong side of the price trades all the same."""
    return REAL_SWAP(given, side, amount, UQ64.maximum if side is Side.BUY else U64F64(0), **more)


REAL_SWAP: Any = pool.swap


def swap_with_fee_kept_in_the_pool(given: Pool, side: Side, amount: int, limit: U64F64, **more: bool) -> Any:
    """Missing step: what the pool gets is not lowered by the fee."""
    return REAL_SWAP(given, side, amount, limit, **{**more, "drop_fees": True})


MUTANTS: dict[str, Callable[..., Any]] = {
    "perquintill_mul": unrounded_share,
    "root_proportion": ceiled_root_proportion,
    "pool_price": price_of_one_division,
    "inject": reserves_before_the_buy,
    "demand_shares": share_of_spot_price,
    "swap": swap_without_the_limit_check,
}


def plant(monkeypatch: pytest.MonkeyPatch, name: str, mutant: Callable[..., Any]) -> None:
    """Replace a rule wherever a module of the rules or the checkers has imported it."""
    places = [module for module in RULES if hasattr(module, name)]
    assert places
    for module in places:
        monkeypatch.setattr(module, name, mutant)


def matched(repository_root: Path) -> bool:
    report = check_file(str(repository_root / "tests/vectors/coinbase_small.jsonl.gz"))
    return report.checked == report.matched


@pytest.mark.parametrize("name", MUTANTS)
def test_planted_bug_is_noticed_by_the_vectors(
    monkeypatch: pytest.MonkeyPatch, repository_root: Path, name: str
) -> None:
    plant(monkeypatch, name, MUTANTS[name])
    assert not matched(repository_root)


def test_fee_left_in_the_pool_is_noticed_by_the_vectors(monkeypatch: pytest.MonkeyPatch, repository_root: Path) -> None:
    plant(monkeypatch, "swap", swap_with_fee_kept_in_the_pool)
    assert not matched(repository_root)


def test_commission_from_parents_of_the_same_owner_is_noticed_by_the_vectors(
    monkeypatch: pytest.MonkeyPatch, shared_folder: Path
) -> None:
    """Missing check: every parent pays the child's take."""

    class Stranger(bytes):
        """A coldkey that is nobody's but its own."""

        def __ne__(self, other: object) -> bool:
            return True

        __hash__ = bytes.__hash__

    holder = vector_distribution.Holder

    def estranged(coldkey: bytes, *rest: int) -> Any:
        return holder(Stranger(coldkey), *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(vector_distribution, "Holder", estranged)
    report = check_file(str(shared_folder / "data/vectors/coinbase_public.jsonl.gz"))
    assert report.matched < report.checked
    assert any(name.startswith(("alpha_dividend", "root_alpha")) for name in report.differences)
