"""Frames and the reader that takes them from a stream however they arrive."""

from __future__ import annotations

import random

import pytest
from yumad.consensus.types import MalformedError
from yumad.protocols.axon.frames import (
    FIRST_PART,
    HEADER,
    MAX_PART,
    FrameReader,
    Kind,
    credit,
    decode_credit,
    frame,
    with_body,
)
from yumad.protocols.transport import PeerId, StreamClosed


class Chunks:
    """A stream that hands out `data` in pieces of at most `size`."""

    peer = PeerId("peer")

    def __init__(self, data: bytes, size: int) -> None:
        self._data = data
        self._size = size
        self.reads = 0

    async def read_some(self, limit: int) -> bytes:
        self.reads += 1
        part, self._data = self._data[: min(limit, self._size)], self._data[min(limit, self._size) :]
        return part


def reader(data: bytes, size: int = 1 << 20) -> FrameReader:
    return FrameReader(Chunks(data, size))  # type: ignore[arg-type]


FRAMES = [(Kind.CALL, b"x" * 300), (Kind.DATA, bytes(MAX_PART)), (Kind.CREDIT, bytes(8)), (Kind.MESSAGE, b"")]


@pytest.mark.parametrize("size", [1, 3, 5, 6, 1000, 1 << 20])
async def test_frames_are_read_whole_however_they_arrive(size: int) -> None:
    frames = reader(b"".join(frame(kind, payload) for kind, payload in FRAMES), size)
    for kind, payload in FRAMES:
        assert await frames.header() == (kind, len(payload))
        assert await frames.payload(len(payload)) == payload
    assert await frames.header() is None


async def test_payload_in_pieces_is_the_same_and_leaves_the_next_frame_alone() -> None:
    rng = random.Random(3)
    for size in (1, 7, 1000, 65_000, 1 << 20):
        body = rng.randbytes(50_000)
        frames = reader(frame(Kind.DATA, body) + frame(Kind.CALL, b"next"), size)
        assert await frames.header() == (Kind.DATA, len(body))
        got = b""
        while len(got) < len(body):
            got += await frames.piece(len(body) - len(got))
        assert got == body
        assert await frames.header() == (Kind.CALL, 4)
        assert await frames.payload(4) == b"next"


async def test_small_call_costs_one_read() -> None:
    stream = Chunks(with_body(frame(Kind.CALL, bytes(300)), bytes(1024)), 1 << 20)
    frames = FrameReader(stream)  # type: ignore[arg-type]
    for _ in range(2):
        header = await frames.header()
        assert header is not None
        await frames.payload(header[1])
    assert stream.reads == 1


async def test_size_is_judged_before_a_byte_of_the_payload_is_read() -> None:
    for kind in Kind:
        stream = Chunks(HEADER.pack(MAX_PART + 1, kind) + bytes(10), 5)
        with pytest.raises(MalformedError, match="at most"):
            await FrameReader(stream).header()  # type: ignore[arg-type]
        assert stream.reads == 1


async def test_unknown_kind_is_malformed() -> None:
    with pytest.raises(MalformedError, match="unknown kind 0"):
        await reader(HEADER.pack(0, 0)).header()


@pytest.mark.parametrize("cut", [1, 4, 5, 7])
async def test_end_inside_a_frame_is_no_clean_end(cut: int) -> None:
    frames = reader(frame(Kind.CALL, b"hello")[:cut])
    with pytest.raises(StreamClosed):  # noqa: PT012
        header = await frames.header()
        assert header is not None
        await frames.payload(header[1])


def test_credit_is_eight_bytes() -> None:
    assert decode_credit(credit(1 << 40)[5:]) == 1 << 40
    with pytest.raises(MalformedError):
        decode_credit(b"\x00" * 7)


def test_first_part_of_a_large_body_goes_with_the_head() -> None:
    assert with_body(b"head", b"") == b"head"
    assert with_body(b"head", b"x") == b"head" + frame(Kind.DATA, b"x")
    assert with_body(b"head", bytes(FIRST_PART + 1)) == b"head" + frame(Kind.DATA, bytes(FIRST_PART))
