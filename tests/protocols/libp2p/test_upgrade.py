"""Negotiation through the library's multistream-select, with our bounds: any bytes end in a result or one error."""

from __future__ import annotations

import pytest
import trio
from adversary.wire import encode_varint, line
from hypothesis import given
from hypothesis import strategies as st
from libp2p.custom_types import TProtocol
from libp2p.io.exceptions import IncompleteReadError
from libp2p.protocol_muxer.exceptions import MultiselectClientError, MultiselectCommunicatorError, MultiselectError
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from yumad.protocols.libp2p.upgrade import MAX_LINE, MAX_PROPOSALS, BoundedCommunicator, BoundedSelector

HEADER = line(b"/multistream/1.0.0")


class Pipe:
    """Bytes to read, and what was written; ends like a library stream."""

    def __init__(self, incoming: bytes) -> None:
        self.incoming = incoming
        self.written = b""
        self.largest = 0

    async def read(self, n: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        self.largest = max(self.largest, n or 0)
        if not self.incoming:
            raise IncompleteReadError("ended")
        data, self.incoming = self.incoming[:n], self.incoming[n or 0 :]
        return data

    async def write(self, data: bytes) -> None:
        self.written += data


async def _select(incoming: bytes, *, dials: bool = False) -> tuple[str, Pipe]:
    selector: BoundedSelector[int] = BoundedSelector()
    for number, protocol in enumerate(("/a", "/b")):
        selector.add_handler(TProtocol(protocol), number)
    pipe = Pipe(incoming)
    protocol, _ = await selector.select(pipe, dials)  # type: ignore[arg-type]
    return protocol, pipe


async def test_first_supported_proposal_is_taken() -> None:
    protocol, pipe = await _select(HEADER + line(b"/no") + line(b"/b") + line(b"/a"))
    assert protocol == "/b"
    assert pipe.written == HEADER + line(b"na") + line(b"/b")


async def test_dialer_falls_back_to_its_second_choice() -> None:
    protocol, pipe = await _select(HEADER + line(b"na") + line(b"/b"), dials=True)
    assert protocol == "/b"
    assert pipe.written == HEADER + line(b"/a") + line(b"/b")


@pytest.mark.parametrize(
    "incoming",
    [
        b"",
        line(b"/other/1.0.0"),
        HEADER + encode_varint(MAX_LINE + 1) + b"a" * 2000,
        HEADER + encode_varint(1 << 60) + b"a" * 2000,
        HEADER + b"\x03abc",
        HEADER + b"\x00",
        HEADER + line(b"\xff\xfe"),
        HEADER + line(b""),
        HEADER + line(b"/no") * 40,
        HEADER + line(b"ls") * 40,
    ],
)
async def test_bad_proposal_is_one_kind_of_error(incoming: bytes) -> None:
    with pytest.raises((MultiselectError, MultiselectCommunicatorError)):
        await _select(incoming)


@pytest.mark.parametrize(
    "answer", [b"", HEADER, HEADER + line(b"/c"), HEADER + line(b"\xff"), HEADER + line(b"na") * 3]
)
async def test_bad_answer_is_one_kind_of_error(answer: bytes) -> None:
    with pytest.raises(MultiselectClientError):
        await _select(answer, dials=True)


async def test_name_that_is_not_text_escapes_from_the_stock_reader() -> None:
    with pytest.raises(UnicodeDecodeError):
        await MultiselectCommunicator(Pipe(line(b"\xff\xfe"))).read()  # type: ignore[arg-type]
    with pytest.raises(MultiselectCommunicatorError):
        await BoundedCommunicator(Pipe(line(b"\xff\xfe"))).read()  # type: ignore[arg-type]


@given(st.binary(max_size=80), st.booleans())
def test_any_bytes_end_in_a_result_and_never_in_a_long_read(noise: bytes, after_header: bool) -> None:
    async def run() -> None:
        pipe = Pipe((HEADER if after_header else b"") + noise)
        communicator = BoundedCommunicator(pipe)  # type: ignore[arg-type]
        try:
            for _ in range(MAX_PROPOSALS + 2):
                await communicator.read()
        except MultiselectCommunicatorError:
            pass
        assert pipe.largest <= MAX_LINE

    trio.run(run)
