"""Arrays are packed as their reader can unpack them (AXON R10)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
import trio
from yumad import Call, Result, Round, Subnet, Task, Validator
from yumad.plugin.message import Message
from yumad.plugin.schema import SchemaError, Tensor
from yumad.plugin.serving import MinerService
from yumad.plugin.testing.chain import STRANGER, dev_hotkey
from yumad.plugin.testing.host import MemoryIncoming
from yumad.plugin.testing.swarm import Swarm
from yumad.protocols.axon.interfaces import CallReply
from yumad.protocols.axon.status import Status

subnet = Subnet("packed")


@dataclass
class Packed:
    array: Annotated[np.ndarray, Tensor("float32", (None,), codec="zstd")]


@dataclass
class Rows:
    items: list[Packed]


@subnet.method
async def same(request: Packed, call: Call) -> Packed:
    return request


@subnet.method(cpu=True)
def computed(request: Packed) -> Packed:
    return request


@subnet.method
async def first(request: Rows) -> Packed:
    return request.items[0]


class Sending(Validator):
    def task(self, round: Round) -> Task:
        return Task(same, Packed(np.zeros(10_000, np.float32)))

    def score(self, round: Round, task: Task, results: list[Result]) -> dict[str, float]:
        return {r.hotkey: float(r.ok and r.reply.array.size == 10_000) for r in results}


ZEROS = Packed(np.zeros(10_000, np.float32))
SMALL, LARGE = range(1000), range(40_000, 41_000)


def test_r10_zstd_is_used_only_towards_a_reader_that_has_it() -> None:
    message = Message(Packed)
    assert len(message.encode(ZEROS)) in LARGE
    assert len(message.encode(ZEROS, peer=("none", "zstd"))) in SMALL
    assert message.decode(message.encode(ZEROS, peer=("zstd",))).array.size == 10_000


@pytest.mark.parametrize(("codecs", "size"), [((), LARGE), (("zstd",), SMALL), (("later",), LARGE)])
@pytest.mark.parametrize("method", ["same", "computed"])
async def test_r10_reply_is_packed_as_its_caller_says(
    tmp_path: Path, method: str, codecs: tuple[str, ...], size: range
) -> None:
    service = MinerService(subnet, tmp_path)
    incoming = MemoryIncoming(
        method, 1, 1, dev_hotkey("caller"), dev_hotkey("miner"), STRANGER, bytes(16), trio.current_time() + 20,
        Message(Packed).encode(ZEROS), codecs=codecs,
    )  # fmt: skip
    try:
        reply = await service.handle(incoming)
    finally:
        await service.stop()
    assert reply.status is Status.OK, reply.text
    assert len(reply.body) in size


async def test_r10_request_is_packed_as_each_miner_s_record_says(tmp_path: Path, yumad_clock: object) -> None:
    async with Swarm.of(subnet, tmp_path, validator=Sending, miners=2) as swarm:
        sizes: dict[str, int] = {}
        for node in swarm.miners:
            real: Any = node.host.handler

            async def measured(call: Any, name: str = node.name, real: Any = real) -> CallReply:
                sizes[name] = len(call.body)
                answer: CallReply = await real(call)
                return answer

            node.host.handler = measured
        graph = swarm.chain.metagraph

        def without_codecs_of_one(hotkey: str) -> dict[str, Any]:
            found = graph(hotkey)
            found["neurons"][swarm.node("miner/1").uid].pop("codecs")
            return found

        swarm.chain.metagraph = without_codecs_of_one  # type: ignore[method-assign]
        await swarm.rounds(1)
        assert swarm.scores() == {"miner/0": pytest.approx(0.1), "miner/1": pytest.approx(0.1)}
        assert sizes["miner/0"] in SMALL
        assert sizes["miner/1"] in LARGE


async def test_r10_packed_arrays_pass_the_real_call_protocol(tmp_path: Path, yumad_clock: object) -> None:
    async with Swarm.of(subnet, tmp_path, validator=Sending, miners=1, wire=True) as swarm:
        await swarm.rounds(1)
        assert swarm.scores() == {"miner/0": pytest.approx(0.1)}


async def test_r10_value_of_another_type_is_named_from_the_request_on(tmp_path: Path, yumad_clock: object) -> None:
    async with Swarm.of(subnet, tmp_path, validator=Sending, miners=1) as swarm:
        wrong: Any = Rows([ZEROS, Packed(np.zeros((2, 2), np.float32))])
        with pytest.raises(SchemaError, match=r"request\.items\[1\]\.array"):
            await swarm.call(first, wrong, to="miner/0")
        with pytest.raises(SchemaError, match=r"reply\.array"):
            first.signature.reply.encode(wrong.items[1])
