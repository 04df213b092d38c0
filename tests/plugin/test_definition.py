"""Mistakes of an author are told where they are made (AXON R20)."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from yumad import Call, Ema, Policy, Result, Round, Subnet, Task, Validator
from yumad.plugin.method import DefinitionError


@dataclass
class Ask:
    text: str


@dataclass
class Answer:
    text: str


def test_r20_method_takes_name_types_and_limits_from_function_and_decorator() -> None:
    subnet = Subnet("sub", version=3)

    @subnet.method(timeout=5.0, concurrency=2, max_body=1000, policy=Policy(min_stake=7), idempotent=True)
    async def ask(request: Ask, call: Call) -> Answer:
        return Answer(request.text)

    served = subnet.served_methods()[0]
    assert (served.name, served.version, served.timeout, served.concurrency) == ("ask", 3, 5.0, 2)
    assert (served.max_body, served.policy.min_stake, served.idempotent) == (1000, 7, True)
    assert not served.stream_in and not served.stream_out
    assert ask.signature.request.type is Ask and ask.signature.reply.type is Answer


def test_r20_bare_decorator_works() -> None:
    subnet = Subnet("sub")

    @subnet.method
    def ask(request: Ask) -> Answer:
        return Answer(request.text.upper())

    assert subnet.methods["ask"] is ask
    assert ask(Ask("x")) == Answer("X")


def test_r9_stream_flags_come_from_annotations() -> None:
    subnet = Subnet("sub")

    @subnet.method
    async def down(request: Ask) -> AsyncIterator[Answer]:
        yield Answer(request.text)

    @subnet.method
    async def up(messages: AsyncIterator[Ask]) -> Answer:
        return Answer("".join([m.text async for m in messages]))

    @subnet.method
    async def both(request: Ask, messages: AsyncIterator[Ask]) -> AsyncIterator[Answer]:
        async for message in messages:
            yield Answer(message.text)

    flags = {m.name: (m.stream_in, m.stream_out) for m in subnet.served_methods()}
    assert flags == {"down": (False, True), "up": (True, False), "both": (True, True)}


def test_annotation_without_a_form_on_the_wire_names_method_and_parameter() -> None:
    with pytest.raises(DefinitionError, match=r"ask\(request\).*object") as caught:

        @Subnet("sub").method
        async def ask(request: object) -> Answer:
            return Answer("")

    assert "dataclass" in caught.value.remedy


def test_missing_annotations_are_refused() -> None:
    with pytest.raises(DefinitionError, match="parameter request has no annotation"):

        @Subnet("sub").method
        async def ask(request) -> Answer:  # type: ignore[no-untyped-def]
            return Answer("")

    with pytest.raises(DefinitionError, match="no return annotation"):

        @Subnet("sub").method
        async def ask2(request: Ask):  # type: ignore[no-untyped-def]
            return Answer("")


def test_method_defined_twice_is_refused() -> None:
    subnet = Subnet("sub")

    @subnet.method(name="ask")
    async def one(request: Ask) -> Answer:
        return Answer("")

    with pytest.raises(DefinitionError, match=r"sub\.ask is defined twice"):

        @subnet.method(name="ask")
        async def two(request: Ask) -> Answer:
            return Answer("")


def test_cpu_method_must_be_a_plain_function() -> None:
    with pytest.raises(DefinitionError, match="cpu=True"):

        @Subnet("sub").method(cpu=True)
        async def ask(request: Ask) -> Answer:
            return Answer("")


@pytest.mark.parametrize(("option", "value"), [("timeout", 0), ("max_body", 0), ("concurrency", 0), ("version", 0)])
def test_limits_out_of_range_are_refused_with_the_value(option: str, value: int) -> None:
    with pytest.raises(DefinitionError, match=option):

        @Subnet("sub").method(**{option: value})  # type: ignore[call-overload, misc]
        async def ask(request: Ask) -> Answer:
            return Answer("")


def test_variant_with_other_messages_is_refused() -> None:
    subnet = Subnet("sub")

    @subnet.method
    async def ask(request: Ask) -> Answer:
        return Answer("")

    with pytest.raises(DefinitionError, match="other messages"):

        @ask.variant("bad")
        async def bad(request: Answer) -> Answer:
            return Answer("")


def test_validator_attributes_are_checked_at_definition() -> None:
    with pytest.raises(DefinitionError, match="aggregator"):

        class Bad(Validator):
            aggregator = Ema  # type: ignore[assignment]

    with pytest.raises(DefinitionError, match="interval"):

        class Bad2(Validator):
            interval = 0


def test_subnet_name_must_fit_a_protocol_name() -> None:
    with pytest.raises(DefinitionError, match="My Subnet"):
        Subnet("My Subnet")


def test_task_needs_a_decorated_function() -> None:
    async def ask(request: Ask) -> Answer:
        return Answer("")

    with pytest.raises(DefinitionError) as caught:
        Task(ask, Ask("x"))  # type: ignore[arg-type]
    assert "@subnet.method" in caught.value.remedy


def test_complete_pair_is_at_most_25_lines() -> None:
    """The measure of AXON section 2 for a miner with its validator."""
    source = """
@dataclass
class Ask:
    text: str

subnet = Subnet("pair")

@subnet.method
async def echo(request: Ask) -> Ask:
    return request

class Pair(Validator):
    async def task(self, round):
        return Task(echo, Ask("hi"))
    def score(self, round, task, results):
        return {r.hotkey: float(r.ok and r.reply == task.request) for r in results}
"""
    space: dict[str, object] = {"dataclass": dataclass, "Subnet": Subnet, "Validator": Validator, "Task": Task}
    exec(source, space)
    assert len([line for line in source.splitlines() if line.strip()]) <= 25
    assert isinstance(space["subnet"], Subnet) and Result and Round
