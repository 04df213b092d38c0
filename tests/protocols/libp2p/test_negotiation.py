"""multistream-select: agreement, refusal, limits, any bytes at all."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from yumad.protocols.libp2p.negotiation import (
    MAX_LINE,
    MAX_PROPOSALS,
    NegotiationFailed,
    accept_protocol,
    propose_protocol,
)


class EndOfInput(Exception):
    pass


class Pipe:
    """Reads from given bytes, writes to a list."""

    def __init__(self, incoming: bytes) -> None:
        self._in = incoming
        self.asked = 0
        self.out = b""

    async def read_exactly(self, n: int) -> bytes:
        await trio.lowlevel.checkpoint()
        self.asked = max(self.asked, n)
        if len(self._in) < n:
            raise EndOfInput
        data, self._in = self._in[:n], self._in[n:]
        return data

    async def write(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.out += data


HEADER = b"\x13/multistream/1.0.0\n"
NA = b"\x03na\n"


async def test_first_supported_proposal_is_taken() -> None:
    pipe = Pipe(HEADER + b"\x03/x\n" + b"\x03/b\n")
    assert await accept_protocol(pipe, ("/a", "/b")) == "/b"
    assert pipe.out == HEADER + NA + b"\x03/b\n"


async def test_proposer_sends_header_and_first_choice_together_and_falls_back() -> None:
    pipe = Pipe(HEADER + NA + b"\x03/b\n")
    assert await propose_protocol(pipe, ("/a", "/b")) == "/b"
    assert pipe.out == HEADER + b"\x03/a\n" + b"\x03/b\n"


@pytest.mark.parametrize(
    ("incoming", "why"),
    [
        (b"\x05nope\n", "not the multistream header"),
        (HEADER + b"\x04\xff\xfe\xfd\n", "not UTF-8"),
        (HEADER + b"\x00", "0 bytes"),
        (HEADER + b"\x02ab", "newline"),
        (HEADER + b"\xff\xff\xff\xff\x7f", "bytes, 1 to"),
        (HEADER + b"\x03/x\n" * MAX_PROPOSALS, "proposals"),
    ],
)
async def test_bad_proposal_ends_the_negotiation_and_says_why(incoming: bytes, why: str) -> None:
    with pytest.raises(NegotiationFailed, match=why):
        await accept_protocol(Pipe(incoming), ("/a",))


@pytest.mark.parametrize("answer", [HEADER + NA, HEADER + b"\x03/z\n", b"\x03/a\n"])
async def test_bad_answer_ends_the_negotiation(answer: bytes) -> None:
    with pytest.raises(NegotiationFailed):
        await propose_protocol(Pipe(answer), ("/a",))


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_end_in_a_result_and_never_in_a_long_read(noise: bytes, after_header: bool) -> None:
    async def run() -> None:
        for negotiate in (accept_protocol, propose_protocol):
            pipe = Pipe((HEADER if after_header else b"") + noise)
            try:
                await negotiate(pipe, ("/a", "/b"))  # type: ignore[operator]
            except (NegotiationFailed, EndOfInput):
                pass
            assert pipe.asked <= MAX_LINE

    trio.run(run)
