"""A validator takes no larger reply than the author's method promises, in memory as on the wire (AXON R11)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from yumad import Policy, Result, Round, Sealed, Status, Subnet, Task, Validator
from yumad.plugin.calling import Calls
from yumad.plugin.method import DefinitionError, Method
from yumad.plugin.seal import SALT_BYTES, SEAL_BYTES
from yumad.plugin.testing.swarm import Swarm
from yumad.protocols.axon.interfaces import CallTerms
from yumad.protocols.axon.plugin_values import MAX_BODY, method_document, served_method

OPEN = Policy(require_permit=False)


@dataclass
class Ask:
    size: int


@dataclass
class Answer:
    data: bytes


def filling(max_reply: int, sealed: Any = False) -> tuple[Subnet, Method]:
    """A subnet whose only method answers with as many bytes as it is asked for."""
    subnet = Subnet("filling")

    @subnet.method(max_reply=max_reply, policy=OPEN, sealed=sealed)
    async def fill(request: Ask) -> Answer:
        return Answer(bytes(request.size))

    return subnet, fill


@pytest.mark.parametrize("wire", [False, True])
async def test_r11_miner_that_promises_more_than_the_author_is_a_bad_reply(
    wire: bool, tmp_path: Path, yumad_clock: object
) -> None:
    generous, _ = filling(MAX_BODY)
    _, own = filling(1000)
    async with Swarm.of(generous, tmp_path, miners=1, wire=wire) as swarm:
        large = await swarm.call(own, Ask(2000), to="miner/0")
        small = await swarm.call(own, Ask(500), to="miner/0")
    assert large.status is Status.BAD_REPLY
    assert large.text.startswith("a reply of 20") and large.text.endswith(" bytes, at most 1000 are taken")
    assert small.ok and len(small.reply.data) == 500


@pytest.mark.parametrize("wire", [False, True])
async def test_r11_round_with_one_large_reply_keeps_the_others(wire: bool, tmp_path: Path, yumad_clock: object) -> None:
    generous, _ = filling(MAX_BODY)
    _, own = filling(1000)

    class Fills(Validator):
        def task(self, round: Round) -> Task | None:
            sizes = dict(zip((neuron.hotkey for neuron in round.miners), (2000, 10, 20), strict=True))
            return Task(own, {hotkey: Ask(size) for hotkey, size in sizes.items()})

        def score(self, round: Round, task: Task, results: list[Result]) -> dict[str, float]:
            self.statuses = [result.status for result in results]
            return {}

    async with Swarm.of(generous, tmp_path, validator=Fills, miners=3, wire=wire) as swarm:
        await swarm.rounds(1)
        statuses = swarm.validators[0].run.validator.statuses  # type: ignore[union-attr, attr-defined]
    assert sorted(statuses) == [Status.OK, Status.OK, Status.BAD_REPLY]


@pytest.mark.parametrize("wire", [False, True])
async def test_r11_miner_s_own_bound_is_its_handler_s_error(wire: bool, tmp_path: Path, yumad_clock: object) -> None:
    subnet, fill = filling(1000)
    async with Swarm.of(subnet, tmp_path, miners=1, wire=wire) as swarm:
        result = await swarm.call(fill, Ask(2000), to="miner/0")
    assert result.status is Status.HANDLER_ERROR
    assert result.text.endswith(" bytes is above the limit")


class Noting:
    """A host that is asked and has nobody to ask."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, CallTerms]] = []

    async def call_many(self, bodies: object, method: str, version: int, terms: CallTerms) -> list[Any]:
        self.asked.append((method, terms))
        return []


async def test_r11_r30_seals_are_taken_at_their_own_size(yumad_clock: object) -> None:
    _, fill = filling(1000, sealed=Sealed(open_timeout=2.0))
    host: Any = Noting()
    hotkey = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
    calls = Calls(host, hotkey, {}, bytes)
    assert not (await calls.call(hotkey, fill, Ask(1), 4.0)).ok
    assert host.asked == [("fill.commit", CallTerms(4.0, max_reply=SEAL_BYTES))]


def test_r24_r30_sealed_method_of_the_largest_size_is_one_that_a_peer_takes() -> None:
    subnet, _ = filling(MAX_BODY, sealed=True)
    taken = [served_method(method_document(method)) for method in subnet.served_methods()]
    assert [method.max_reply for method in taken] == [SEAL_BYTES, MAX_BODY]
    smaller, _ = filling(1000, sealed=True)
    assert smaller.served_methods()[1].max_reply == 1000 + SALT_BYTES


def test_method_with_more_than_a_peer_takes_is_refused_where_it_is_written() -> None:
    with pytest.raises(DefinitionError, match="max_reply is 16777217") as caught:
        filling(MAX_BODY + 1)
    assert caught.value.remedy == "give bytes, 1 to 16777216"
