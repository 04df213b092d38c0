"""Author types on the wire: what fits comes back equal, what does not is named by its path (AXON R12)."""

from __future__ import annotations

import enum
import json
from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field
from typing import Annotated, Any, Literal, Optional

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from yumad.consensus.types import InvalidError, MalformedError
from yumad.plugin.schema import SchemaError, Tensor, compile_schema, describe
from yumad.protocols.axon.payload import decode_payload, encode_payload


class Mode(enum.Enum):
    FAST = "fast"
    GOOD = "good"


@dataclass
class Item:
    text: str
    weight: float = 1.0


@dataclass
class Everything:
    count: int
    name: str
    data: bytes
    flag: bool
    items: list[Item]
    by_name: dict[str, Item]
    mode: Mode
    kind: Literal["a", 1, True, None]
    pair: tuple[int, str]
    row: tuple[float, ...] = ()
    note: str | None = None
    older: Optional[int] = None  # noqa: UP045 - authors write it
    anything: Any = None
    nothing: None = None
    by_number: dict[int, str] = field(default_factory=dict)


@dataclass
class Tree:
    label: str
    children: list[Tree] = field(default_factory=list)
    parent: Tree | None = None


@dataclass
class Tensors:
    free: np.ndarray
    typed: NDArray[np.float32]
    shaped: Annotated[np.ndarray, Tensor("float32", (None, 3), codec="fp16")]


def round_trip(hint: Any, value: Any) -> Any:
    schema = compile_schema(hint)
    return schema.decode(decode_payload(b"".join(encode_payload(schema.encode(value)))))


small = st.text(max_size=8)
items = st.builds(Item, small, st.floats(allow_nan=False))
everything = st.builds(
    Everything,
    count=st.integers(-(1 << 64), (1 << 64) - 1),
    name=small,
    data=st.binary(max_size=20),
    flag=st.booleans(),
    items=st.lists(items, max_size=3),
    by_name=st.dictionaries(small, items, max_size=3),
    mode=st.sampled_from(Mode),
    kind=st.sampled_from(["a", 1, True, None]),
    pair=st.tuples(st.integers(-5, 5), small),
    row=st.lists(st.floats(allow_nan=False), max_size=3).map(tuple),
    note=st.none() | small,
    older=st.none() | st.integers(-5, 5),
    anything=st.none() | st.lists(st.integers(0, 3), max_size=2),
    nothing=st.none(),
    by_number=st.dictionaries(st.integers(-5, 5), small, max_size=3),
)


@given(everything)
def test_r12_any_instance_comes_back_equal(value: Everything) -> None:
    back = round_trip(Everything, value)
    assert back == value and type(back.kind) is type(value.kind)


scalars = (
    st.none() | st.booleans() | st.integers(-(1 << 64), (1 << 64) - 1) | st.floats() | small | st.binary(max_size=8)
)
names = st.sampled_from(["count", "name", "data", "flag", "items", "by_name", "mode", "kind", "pair", "row", "text"])
plain = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | st.integers(0, 3), inner, max_size=9)
)


@given(plain)
def test_r12_any_plain_value_decodes_or_is_refused_as_a_mismatch(value: Any) -> None:
    for hint in (Everything, Tree, Tensors, list[Item], dict[str, Tree], tuple[int, str], Mode):
        try:
            compile_schema(hint).decode(value)
        except SchemaError:
            pass


@given(st.binary(max_size=200))
def test_r12_random_bytes_raise_nothing_but_designed_errors(data: bytes) -> None:
    try:
        compile_schema(Everything).decode(decode_payload(b"\x00\x00\x00" + bytes([len(data) % 256]) + data))
    except (MalformedError, SchemaError):
        pass


def test_r12_unknown_fields_are_ignored_and_defaults_fill_in() -> None:
    assert compile_schema(Item).decode({"text": "x", "later": [1], 5: 6}) == Item("x", 1.0)


def test_r12_missing_required_field_is_refused_with_its_path() -> None:
    @dataclass
    class Request:
        items: list[Item]

    Request.__annotations__["items"] = list[Item]
    value = {"items": [{"text": "a"}, {"text": "b"}, {"text": "c"}, {"weight": 1}]}
    with pytest.raises(SchemaError, match=r"^request\.items\[3\]\.text: expected text, got no field$") as caught:
        compile_schema(Request).decode(value, "request")
    assert caught.value.code == "schema_mismatch" and caught.value.remedy


@pytest.mark.parametrize(
    ("hint", "value", "text"),
    [
        (int, "5", "expected an integer, got '5'|expected an integer of 64 bits, got '5'"),
        (int, True, "got True"),
        (int, 1.0, "got 1.0"),
        (int, 1 << 65, "64 bits"),
        (float, "1", "a number"),
        (float, 10**400, "a number"),
        (str, b"x", "expected text, got bytes"),
        (str, "x" * 0 or None, "got nothing"),
        (bytes, "x", "expected bytes"),
        (bool, 1, "true or false"),
        (list[int], {"a": 1}, "a list of an integer, got a map"),
        (list[int], [1, 2, "x"], r"value\[2\]"),
        (dict[str, int], {"a": "x"}, r"value\['a'\]"),
        (dict[str, int], {5: 1}, "expected text"),
        (tuple[int, str], [1], "a list of 2 values"),
        (tuple[int, str], [1, 2], r"value\[1\]"),
        (Mode, "slow", "one of 'fast', 'good', got 'slow'"),
        (Mode, ["fast"], "one of"),
        (Literal["a", 1], True, "one of"),
        (Item, [1], "a map with the fields of Item, got a list"),
        (Item, Item("x"), "a map"),
        (list[Item | None], [None, {"text": 1}], r"value\[1\]\.text: expected text, got 1"),
        (NDArray[np.float32], np.zeros(3), "an array of float32, got an array of float64 of shape 3"),
        (np.ndarray, [1.0], "an array, got a list"),
        (Annotated[np.ndarray, Tensor(shape=(None, 3))], np.zeros((2, 4)), r"shape \?x3, got .* shape 2x4"),
    ],
)
def test_r12_value_of_another_type_is_refused_with_what_was_expected(hint: Any, value: Any, text: str) -> None:
    with pytest.raises(SchemaError, match=text):
        compile_schema(hint).decode(value)


def test_r12_sender_is_told_of_its_own_mistakes() -> None:
    with pytest.raises(SchemaError, match=r"reply\.weight: expected a number, got 'heavy'"):
        compile_schema(Item).encode(Item("x", "heavy"), "reply")  # type: ignore[arg-type]
    with pytest.raises(SchemaError, match="expected a Item"):
        compile_schema(Item).encode({"text": "x"})


def test_r12_numbers_of_numpy_count_as_numbers() -> None:
    assert compile_schema(Item).encode(Item("x", np.float32(2))) == {"text": "x", "weight": 2.0}  # type: ignore[arg-type]
    assert compile_schema(list[int]).encode([np.int64(3)]) == [3]
    assert compile_schema(float).decode(3) == 3.0 and type(compile_schema(float).decode(3)) is float


def test_r12_class_that_contains_itself_comes_back_and_cycles_are_refused() -> None:
    tree = Tree("root", [Tree("left"), Tree("right", [Tree("leaf")])])
    assert round_trip(Tree, tree) == tree
    tree.parent = tree
    with pytest.raises(SchemaError, match="contains itself"):
        compile_schema(Tree).encode(tree)


def test_r10_arrays_in_fields_travel_by_the_codec_of_the_field() -> None:
    third = np.full((4, 3), 1 / 3, np.float32)
    value = Tensors(np.arange(3), third, third)
    back = round_trip(Tensors, value)
    assert np.array_equal(back.free, value.free) and np.array_equal(back.typed, third)
    assert back.shaped.dtype == np.float32 and 0 < np.abs(back.shaped - third).max() < 1e-3


def test_r12_value_that_the_class_itself_refuses_is_a_mismatch() -> None:
    @dataclass
    class Even:
        value: int

        def __post_init__(self) -> None:
            if self.value % 2:
                raise ValueError("odd")

    assert compile_schema(Even).decode({"value": 2}) == Even(2)
    with pytest.raises(SchemaError, match="a valid Even, got one that it refuses"):
        compile_schema(Even).decode({"value": 3})


@dataclass
class WithSet:
    tags: set[str]


@dataclass
class WithInitVar:
    value: InitVar[int]


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (WithSet, r"WithSet\.tags: set\[str\] has no form"),
        (WithInitVar, "InitVar"),
        (int | str, "cannot be told apart"),
        (dict[float, int], "keys of float"),
        (complex, "complex has no form"),
        (object, "object has no form"),
        (list[set[int]], r"\[\]: set\[int\]"),
        (NDArray[np.complex64], "arrays of"),
        (Annotated[np.ndarray, Tensor(dtype="float12")], "float12"),
        (Annotated[np.ndarray, Tensor(codec="jpeg")], "jpeg"),
        (Literal[Mode.FAST], "not plain"),
    ],
)
def test_r12_unsupported_annotation_is_refused_when_it_is_compiled(hint: Any, text: str) -> None:
    with pytest.raises(InvalidError, match=text) as caught:
        compile_schema(hint)
    assert caught.value.remedy


def test_r12_name_that_cannot_be_resolved_is_refused_when_it_is_compiled() -> None:
    @dataclass
    class Lost:
        value: Nowhere  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(InvalidError, match="annotations of Lost"):
        compile_schema(Lost)


def test_r12_description_is_json_and_names_what_a_caller_needs() -> None:
    described = json.loads(json.dumps(describe(Everything)))
    assert described["message"] == "Everything" and described["type"] == "message"
    by_name = {entry["name"]: entry for entry in described["fields"]}
    assert by_name["count"] == {"name": "count", "type": "int", "required": True}
    assert by_name["mode"]["values"] == ["fast", "good"]
    assert by_name["items"]["item"]["fields"][1] == {
        "name": "weight", "type": "float", "required": False, "default": 1.0
    }  # fmt: skip
    assert describe(Tree)["fields"][1]["item"] == {"type": "ref", "message": "Tree"}
    assert describe(Tensors)["fields"][2]["shape"] == [None, 3]


def test_r12_schema_is_compiled_once_per_type() -> None:
    assert compile_schema(Everything) is compile_schema(Everything)
    assert compile_schema(Sequence[int]).decode([1, 2]) == [1, 2]
