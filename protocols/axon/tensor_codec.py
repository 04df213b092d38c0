"""How an array becomes a segment and back: dtype whitelist and the codecs none, fp16, int8 and zstd (AXON R10).

Every size is computed from dtype and shape, and compared with what came, before anything is allocated. `none`, `fp16`
and `int8` are part of the protocol; `zstd` is offered by peers that have the package `zstandard`.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Sequence
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...consensus.types import InvalidError, MalformedError

Array = NDArray[Any]

NONE, FP16, INT8, ZSTD = "none", "fp16", "int8", "zstd"

MANDATORY: Final = (NONE, FP16, INT8)
"""Codecs that every implementation decodes."""

BLOCK: Final = 64
"""Values that share one scale in `int8`: 4 bytes on 64 make 6 %, and one outlier spoils no more than its block."""

MAX_DIMENSIONS: Final = 16

_MAX_HALF: Final = 65_504.0
_MAX_SINGLE: Final = float(np.finfo(np.float32).max)

_WHOLE: Final = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")
DTYPES: Final = {name: np.dtype(name).newbyteorder("<") for name in ("bool", *_WHOLE, "float16", "float32", "float64")}
"""Names that travel. All little-endian."""

_FLOATS: Final = frozenset({"float16", "float32", "float64"})


@cache
def _zstandard() -> Any:
    """The package, or None. Imported at first use: most peers never need it."""
    try:
        return importlib.import_module("zstandard")
    except ImportError:
        return None


def local_codecs() -> tuple[str, ...]:
    """What this peer decodes, and tells others that it does."""
    return (*MANDATORY, ZSTD) if _zstandard() is not None else MANDATORY


def choose_codecs(offered: Collection[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """The wanted codecs that both sides have, in the order wanted, then `none`. Raises InvalidError for an unknown
    one among the wanted; unknown names among the offered are a later version's and are passed over.
    """
    unknown = [name for name in wanted if name not in (*MANDATORY, ZSTD)]
    if unknown:
        raise InvalidError(f"codec {unknown[0]!r} is unknown", remedy=f"use {', '.join((*MANDATORY, ZSTD))}")
    both = [name for name in wanted if name in local_codecs() and (name in MANDATORY or name in offered)]
    return (*dict.fromkeys(both), NONE) if NONE not in both else tuple(dict.fromkeys(both))


def dtype_name(array: Array) -> str:
    """The name under which its dtype travels. Raises InvalidError."""
    name = array.dtype.name
    if name not in DTYPES:
        raise InvalidError(f"arrays of {name} cannot be sent", remedy=f"convert to one of {', '.join(DTYPES)}")
    return name


def pack(array: Array, codecs: Sequence[str]) -> tuple[str, bytes | memoryview]:
    """`(codec, bytes)` by the first of `codecs` that fits this array. Never copies for `none` if it need not."""
    name = dtype_name(array)
    if array.ndim > MAX_DIMENSIONS:
        raise InvalidError(f"array of {array.ndim} dimensions", remedy=f"use at most {MAX_DIMENSIONS}")
    flat = np.ascontiguousarray(array, dtype=DTYPES[name]).reshape(-1)
    for codec in codecs:
        if codec == FP16 and name in ("float32", "float64") and _bound(flat) <= _MAX_HALF:
            return FP16, _view(flat.astype("<f2"))
        if codec == INT8 and name in _FLOATS and _bound(flat) <= _MAX_SINGLE:
            return INT8, _pack_int8(flat)
        if codec == ZSTD and _zstandard() is not None:
            packed: bytes = _zstandard().ZstdCompressor(level=3).compress(_view(flat))
            if len(packed) < flat.nbytes:
                return ZSTD, packed
        if codec == NONE:
            break
    return NONE, _view(flat)


def _view(flat: Array) -> memoryview:
    return flat.view(np.uint8).data if flat.size else memoryview(b"")


def _bound(flat: Array) -> float:
    """Largest magnitude; infinity when a value is not finite, so that lossy codecs leave it alone."""
    if not flat.size:
        return 0.0
    least, most = float(flat.min()), float(flat.max())
    return max(-least, most) if np.isfinite(least) and np.isfinite(most) else float("inf")


def _pack_int8(flat: Array) -> bytes:
    blocks = -(-flat.size // BLOCK)
    padded = np.zeros(blocks * BLOCK, np.float32)
    padded[: flat.size] = flat
    rows = padded.reshape(blocks, BLOCK)
    scales = (np.abs(rows).max(axis=1) / np.float32(127)).astype("<f4")
    divisors = np.where(scales > 0, scales, np.float32(1))
    values = np.clip(np.rint(rows / divisors[:, None]), -127, 127).astype(np.int8)
    return b"".join((scales.tobytes(), values.reshape(-1)[: flat.size].tobytes()))


def array_size(name: object, shape: object) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """(dtype, shape, bytes) of an array as its sender declares it. Raises MalformedError."""
    dtype = DTYPES.get(name) if type(name) is str else None
    if dtype is None:
        raise MalformedError(f"dtype {name!r:.40} is unknown")
    if type(shape) is not list or len(shape) > MAX_DIMENSIONS:
        raise MalformedError("the shape of an array must be a short list")
    count = 1
    for length in shape:
        if type(length) is not int or not 0 <= length < 1 << 40:
            raise MalformedError("a length in a shape is not possible")
        count = min(count * length, 1 << 60)
    if 0 in shape and count == 0:
        return dtype, tuple(shape), 0
    return dtype, tuple(shape), count * dtype.itemsize


def packed_size(codec: object, dtype: np.dtype[Any], size: int) -> int | None:
    """Bytes a segment must have for `size` bytes of array; None when only the codec knows. Raises MalformedError."""
    count = size // dtype.itemsize
    if codec == NONE:
        return size
    if codec == FP16 and dtype.name in ("float32", "float64"):
        return 2 * count
    if codec == INT8 and dtype.name in _FLOATS:
        return count + 4 * -(-count // BLOCK)
    if codec == ZSTD:
        return None
    raise MalformedError(f"codec {codec!r:.40} is unknown or not for {dtype.name}")


def unpack(codec: str, dtype: np.dtype[Any], shape: tuple[int, ...], size: int, data: memoryview) -> Array:
    """The read-only array of a segment whose sizes were checked; a view over `data` for `none`. Raises
    MalformedError.
    """
    count = size // dtype.itemsize
    if codec == NONE:
        array = np.frombuffer(data, dtype)
    elif codec == FP16:
        array = np.frombuffer(data, "<f2").astype(dtype)
    elif codec == INT8:
        array = _unpack_int8(data, count).astype(dtype)
    else:
        array = np.frombuffer(_decompress(data, size), dtype)
    if dtype == np.bool_ and array.view(np.uint8).max(initial=0) > 1:
        raise MalformedError("a boolean that is neither 0 nor 1")
    array = array.reshape(shape)
    array.flags.writeable = False
    return array


def _unpack_int8(data: memoryview, count: int) -> Array:
    blocks = -(-count // BLOCK)
    scales = np.frombuffer(data[: 4 * blocks], "<f4")
    values = np.zeros(blocks * BLOCK, np.float32)
    values[:count] = np.frombuffer(data[4 * blocks :], np.int8)
    with np.errstate(all="ignore"):  # a sender may write any scale; what comes out is still only numbers
        rows = values.reshape(blocks, BLOCK)
        rows *= scales[:, None]
    return values[:count]


def _decompress(data: memoryview, size: int) -> bytes:
    """At most `size` bytes are ever allocated: the frame must declare exactly that many."""
    package = _zstandard()
    if package is None:
        raise MalformedError("codec zstd was not offered")
    try:
        if package.frame_content_size(data) != size:
            raise MalformedError("a compressed segment does not declare the size of its array")
        unpacked: bytes = package.ZstdDecompressor(max_window_size=8 << 20).decompress(data, max_output_size=size)
    except package.ZstdError as error:
        raise MalformedError("a compressed segment does not decompress") from error
    if len(unpacked) != size:
        raise MalformedError("a compressed segment does not have the size of its array")
    return unpacked
