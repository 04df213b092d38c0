"""Vector files are read strictly, and every departure from them is found and named."""

import copy
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from yumad.daemon.vector_files import (
    UnknownKindError,
    VectorFileError,
    check_file,
    find_epoch_record,
    known_kinds,
    read_records,
)

Body = dict[str, Any]


@pytest.fixture(scope="session")
def epoch_bodies(repository_root: Path) -> list[Body]:
    with gzip.open(repository_root / "tests/vectors/epoch_small.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Writes bodies (or raw lines) as a vector file and returns its path."""

    def write_file(*bodies: Body | str, name: str = "case.jsonl") -> str:
        path = tmp_path / name
        path.write_text("".join((body if isinstance(body, str) else json.dumps(body)) + "\n" for body in bodies))
        return str(path)

    return write_file


def changed(body: Body, change: Callable[[Body], object]) -> Body:
    result = copy.deepcopy(body)
    change(result)
    return result


def test_plain_and_compressed_files_are_told_apart_by_content(
    epoch_bodies: list[Body], write: Callable[..., str], tmp_path: Path
) -> None:
    plain = write(epoch_bodies[0], "", epoch_bodies[1], name="plain.jsonl.gz")
    packed = tmp_path / "packed.jsonl"
    packed.write_bytes(gzip.compress(Path(plain).read_bytes()))
    assert check_file(plain).matched == check_file(str(packed)).matched == 2


def test_file_without_records_checks_nothing(write: Callable[..., str]) -> None:
    report = check_file(write())
    assert (report.checked, report.matched, report.differences) == (0, 0, {})


def test_first_difference_of_each_field_is_reported(epoch_bodies: list[Body], write: Callable[..., str]) -> None:
    def spoil(body: Body) -> None:
        body["out"]["incentive"][1] += 1
        body["raw"]["consensus"][0] += 5

    spoiled = [changed(body, spoil) for body in epoch_bodies[2:4]]
    report = check_file(write(epoch_bodies[0], *spoiled))
    assert (report.checked, report.matched) == (3, 1)
    assert list(report.differences) == ["incentive", "raw.consensus"]
    assert report.to_json()["first_difference"] == {
        "id": spoiled[0]["id"],
        "field": "incentive",
        "index": 1,
        "expected": spoiled[0]["out"]["incentive"][1],
        "actual": epoch_bodies[2]["out"]["incentive"][1],
    }


@pytest.mark.parametrize("field", ["active", "emission", "stake", "bonds", "inherited_alpha", "inherited_tao"])
def test_every_field_of_the_result_is_compared(epoch_bodies: list[Body], write: Callable[..., str], field: str) -> None:
    def spoil(body: Body) -> None:
        old = body["out"][field][0]
        body["out"][field][0] = [[0, 7]] if field == "bonds" else (not old if isinstance(old, bool) else old + 1)

    report = check_file(write(changed(epoch_bodies[0], spoil)))
    assert list(report.differences) == [field]


def test_unknown_kind_is_an_error_and_never_skipped(epoch_bodies: list[Body], write: Callable[..., str]) -> None:
    path = write(epoch_bodies[0], {"id": "x", "kind": "tea_leaves", "in": {}, "out": []})
    with pytest.raises(UnknownKindError, match=r"case\.jsonl, line 2: kind 'tea_leaves' is not known; 1 records"):
        check_file(path)
    assert "exp_safe" in known_kinds()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not a JSON record"),
        ("[1]", "line 2: expected a JSON object"),
        ('{"id": "x"}', "line 2: expected a JSON object with an object 'in'"),
        ('{"in": {"n": 1.5}}', "1.5 is not an integer"),
        ('{"in": {"n": NaN}}', "NaN is not an integer"),
        ('{"in": {"n": 1' + "0" * 5000 + "}}", "line 2: not a JSON record"),
        ("[" * 100_000, "line 2: not a JSON record"),
        ('{"in": {}, "kind": 7}', "line 2: 'kind' is 7; expected a text"),
        ('{"in": {}}', "line 2: 'in.n' is missing"),
    ],
)
def test_malformed_line_is_named_by_number(
    epoch_bodies: list[Body], write: Callable[..., str], line: str, message: str
) -> None:
    with pytest.raises(VectorFileError) as raised:
        check_file(write(epoch_bodies[0], line))
    assert message in raised.value.message
    assert len(raised.value.message) < 400


def replaced(name: str, value: Any) -> Callable[[Body], object]:
    return lambda body: body["in"].__setitem__(name, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replaced("n", 0), "'in.n': 0 is not an integer in 1..4096"),
        (replaced("n", 10**9), "'in.n': 1000000000 is not an integer in 1..4096"),
        (replaced("n", True), "'in.n': True is not an integer in 1..4096"),
        (replaced("kappa", 65536), "'in.kappa': 65536 is not an integer in 0..65535"),
        (replaced("kappa", "many"), "'in.kappa': 'many' is not an integer"),
        (replaced("bonds_moving_average", 1_000_001), "1000001 is not an integer in 0..1000000"),
        (replaced("yuma3", 1), "'in.yuma3' is 1; expected true or false"),
        (replaced("owner_uid", 4096), "'in.owner_uid': 4096 is not an integer"),
        (replaced("alpha_stake", [1]), "'in.alpha_stake' has 1 elements; expected one for each of"),
        (replaced("alpha_stake", 3), "'in.alpha_stake' is 3; expected a list"),
        (replaced("last_update", [0] * 5000), "'in.last_update' has 5000 elements; expected at most"),
        (replaced("last_update", [-1]), "'in.last_update': -1 is not an integer"),
        (replaced("validator_permit", [1, 0]), "holds something else than true and false"),
        (replaced("weights", [[[0, 1], [0, 2]]]), "'in.weights': row 0 names a uid twice"),
        (replaced("weights", [[[0, 65536]]]), "'in.weights': 65536 is not an integer in 0..65535"),
        (replaced("weights", [[[0]]]), "'in.weights' holds [0]; expected lists of 2 elements"),
        (replaced("weights", [7]), "'in.weights' holds 7; expected a list"),
        (replaced("bonds", [[]] * 5000), "'in.bonds' has 5000 rows; expected at most"),
        (replaced("parents", [[0, [[1, 2, 3]]]]), "'in.parents' holds [1, 2, 3]; expected lists of 2 elements"),
        (replaced("extra_accounts", [[1, 2]]), "'in.extra_accounts' holds [1, 2]; expected lists of 3 elements"),
        (lambda body: body.pop("out"), "'out' is missing"),
        (lambda body: body["out"].pop("stake"), "'out.stake' is missing"),
        (lambda body: body["out"].update(rank=[]), "'out.rank' is not a result of the epoch"),
        (lambda body: body["raw"].update(trust=[]), "'raw.trust' is not an intermediate of the epoch"),
    ],
)
def test_bad_field_is_named_with_its_value(
    epoch_bodies: list[Body], write: Callable[..., str], change: Callable[[Body], object], message: str
) -> None:
    with pytest.raises(VectorFileError) as raised:
        check_file(write(changed(epoch_bodies[0], change)))
    assert message in raised.value.message
    assert raised.value.exit_code == 2


def test_stakes_that_would_wrap_are_refused_as_a_bad_record(
    epoch_bodies: list[Body], write: Callable[..., str]
) -> None:
    def pile_up(body: Body) -> None:
        body["in"]["alpha_stake"] = [(1 << 64) - 1] * body["in"]["n"]

    with pytest.raises(VectorFileError, match="stakes add up to"):
        check_file(write(changed(epoch_bodies[0], pile_up)))


def test_missing_file_and_folder_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(VectorFileError, match="cannot be read: No such file or directory"):
        list(read_records(str(tmp_path / "none.jsonl")))
    with pytest.raises(VectorFileError, match="cannot be read: Is a directory"):
        list(read_records(str(tmp_path)))


def test_truncated_and_damaged_compression_is_one_clear_error(repository_root: Path, tmp_path: Path) -> None:
    data = bytearray((repository_root / "tests/vectors/epoch_small.jsonl.gz").read_bytes())
    for name, content in (("cut", data[: len(data) // 2]), ("bad", data[:2000] + b"\xff" * 50 + data[2050:])):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(VectorFileError, match=r"cannot be decompressed|not a JSON record"):
            list(read_records(str(path)))


def test_bytes_that_are_not_text_are_a_malformed_line(tmp_path: Path) -> None:
    path = tmp_path / "bytes.jsonl"
    path.write_bytes(b'{"in": "\xff\xfe"}\n')
    with pytest.raises(VectorFileError, match="line 1: not a JSON record"):
        list(read_records(str(path)))


def test_epoch_record_is_found_by_id_or_first(epoch_bodies: list[Body], write: Callable[..., str]) -> None:
    path = write(*epoch_bodies[:3])
    assert find_epoch_record(path, None).id == epoch_bodies[0]["id"]
    assert find_epoch_record(path, epoch_bodies[2]["id"]).id == epoch_bodies[2]["id"]
    with pytest.raises(VectorFileError, match="holds no record 'nobody' among its 3"):
        find_epoch_record(path, "nobody")
    with pytest.raises(VectorFileError, match="holds no records"):
        find_epoch_record(write(name="empty.jsonl"), None)
    with pytest.raises(VectorFileError, match="a 'topk' record, not an epoch"):
        find_epoch_record(write({"id": "t", "kind": "topk", "in": {}}, name="topk.jsonl"), None)
