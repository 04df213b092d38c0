"""Every public record of every kind matches, and none is skipped."""

import json
from collections import Counter
from pathlib import Path

import pytest
from yumad.daemon.vector_files import CHECKERS, check_file, read_records

COINBASE_KINDS = {
    "block_emission": 1,
    "coinbase_blocks": 60,
    "swap": 250,
    "limit_delta": 80,
    "add_liquidity": 80,
    "moving_price": 80,
    "root_proportion": 60,
    "mechanism_split": 60,
    "dividend_distribution": 80,
}
"""Records of each kind in the public coinbase file, as its authors counted them."""

PRIMITIVE_RECORDS = 387

POOL_PRIMITIVES = ("pow_ratio_scaled_1e18", "perquintill_from_rational_u128")


def test_public_coinbase_records_all_match(shared_folder: Path) -> None:
    path = str(shared_folder / "data/vectors/coinbase_public.jsonl.gz")
    assert Counter(record.kind for record in read_records(path)) == COINBASE_KINDS
    report = check_file(path)
    assert report.differences == {}
    assert report.checked == report.matched == sum(COINBASE_KINDS.values())


def test_public_primitive_records_all_match(shared_folder: Path) -> None:
    path = str(shared_folder / "data/vectors/primitives_public.jsonl.gz")
    kinds = Counter(record.kind for record in read_records(path))
    assert {kinds[kind] for kind in POOL_PRIMITIVES} == {1}
    report = check_file(path)
    assert report.differences == {}
    assert report.checked == report.matched == sum(kinds.values()) == PRIMITIVE_RECORDS


@pytest.mark.parametrize("name", ["coinbase_public", "epoch_public", "primitives_public"])
def test_every_kind_of_the_public_files_has_a_checker(shared_folder: Path, name: str) -> None:
    kinds = {record.kind for record in read_records(str(shared_folder / f"data/vectors/{name}.jsonl.gz"))}
    assert kinds
    assert kinds <= CHECKERS.keys()


def test_shipped_coinbase_records_all_match(repository_root: Path) -> None:
    path = str(repository_root / "tests/vectors/coinbase_small.jsonl.gz")
    report = check_file(path)
    assert report.differences == {}
    assert {record.kind for record in read_records(path)} == {*COINBASE_KINDS, *POOL_PRIMITIVES}
    assert report.checked == report.matched > 100


@pytest.mark.parametrize("kind", [*COINBASE_KINDS, *POOL_PRIMITIVES])
def test_a_changed_number_of_any_kind_is_noticed(repository_root: Path, tmp_path: Path, kind: str) -> None:
    records = read_records(str(repository_root / "tests/vectors/coinbase_small.jsonl.gz"))
    body = next(dict(record.body) for record in records if record.kind == kind)
    body["out"] = _spoiled(body["out"])
    path = tmp_path / "spoiled.jsonl"
    path.write_text(json.dumps(body) + "\n")
    report = check_file(str(path))
    assert (report.checked, report.matched) == (1, 0)


def _spoiled(value: object) -> object:
    """The same value with its first number off by one."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return value + "0"
        case list():
            return [_spoiled(value[0]), *value[1:]]
        case dict():
            first, *rest = value.items()
            return {first[0]: _spoiled(first[1]), **dict(rest)}
    raise AssertionError(f"{value!r} holds no number")
