"""A record of Dynamic TAO that anyone may have written is compared or refused in words; nothing else happens."""

import copy
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yumad.daemon.vector_files import VectorFileError, check_file, read_records

KINDS = (
    "swap",
    "limit_delta",
    "add_liquidity",
    "moving_price",
    "root_proportion",
    "dividend_distribution",
    "coinbase_blocks",
    "pow_ratio_scaled_1e18",
    "perquintill_from_rational_u128",
)
JUNK = st.sampled_from((None, True, -1, 0, 1, 10**18, 2**64 - 1, 2**64, 2**128, "x", [], {}, [[]], [[1, 2, 3, 4, 5]]))


@pytest.fixture(name="bodies", scope="module")
def bodies_fixture(repository_root: Path) -> dict[str, dict[str, Any]]:
    """The first shipped record of each kind."""
    bodies: dict[str, dict[str, Any]] = {}
    for record in read_records(str(repository_root / "tests/vectors/coinbase_small.jsonl.gz")):
        bodies.setdefault(record.kind, dict(record.body))
    return bodies


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of everything inside a JSON value, long lists by their first two elements."""
    keys: list[Any] = []
    if isinstance(value, dict):
        keys = list(value)
    elif isinstance(value, list):
        keys = list(range(min(len(value), 2)))
    found = [(*path, key) for key in keys]
    for key in keys:
        found += places(value[key], (*path, key))
    return found


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), junk=JUNK)
def test_record_with_a_junk_field_is_compared_or_refused(
    bodies: dict[str, dict[str, Any]], tmp_path: Path, kind: str, data: st.DataObject, junk: Any
) -> None:
    body = copy.deepcopy(bodies[kind])
    *path, last = data.draw(st.sampled_from(places({"in": body["in"]})[1:] + places({"out": body["out"]})))
    holder: Any = body
    for key in path:
        holder = holder[key]
    if data.draw(st.booleans()) or isinstance(holder, list):
        holder[last] = junk
    else:
        del holder[last]
    file = tmp_path / "case.jsonl"
    file.write_text(json.dumps(body) + "\n")
    with suppress(VectorFileError):
        assert check_file(str(file)).checked == 1


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("swap", {"side": "hold"}, "'in.side' is 'hold'; expected 'buy' or 'sell'"),
        ("swap", {"quote_weight": 10**18 + 1}, "'in.quote_weight': 1000000000000000001 is not an integer in 0..10"),
        ("coinbase_blocks", {"blocks": 10**9}, "'in.blocks': 1000000000 is not an integer in 0..10000"),
        ("coinbase_blocks", {"state": 7}, "'in.state' is 7; expected an object"),
        ("coinbase_blocks", {"blocks": 0}, "'out' is not a list of 0 blocks"),
        ("dividend_distribution", {"parents": [["x", []]]}, "'in.parents' holds 'x'; expected an account number"),
        ("moving_price", {"subnet": ["netuid"]}, "'in.subnet' is ['netuid']; expected an object"),
        (
            "pow_ratio_scaled_1e18",
            {"num_den_expnum_expden_precision": [[1, 1, 1, 1, 5000]]},
            "a precision of 5000; expected at most 4096",
        ),
    ],
)
def test_bad_field_is_named_with_its_value(
    bodies: dict[str, dict[str, Any]], tmp_path: Path, kind: str, change: dict[str, Any], message: str
) -> None:
    body = copy.deepcopy(bodies[kind])
    body["in"].update(change)
    file = tmp_path / "case.jsonl"
    file.write_text(json.dumps(body) + "\n")
    with pytest.raises(VectorFileError) as refused:
        check_file(str(file))
    assert message in refused.value.message


def test_subnets_out_of_order_are_refused(bodies: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    body = copy.deepcopy(bodies["coinbase_blocks"])
    body["in"]["state"]["subnets"] *= 2
    file = tmp_path / "case.jsonl"
    file.write_text(json.dumps(body) + "\n")
    with pytest.raises(VectorFileError, match="expected them ascending"):
        check_file(str(file))
