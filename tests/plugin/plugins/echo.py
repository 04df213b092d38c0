"""A plugin that most tests of this folder play with."""

from dataclasses import dataclass

from yumad import Ema, Result, Round, Subnet, Task, Validator

subnet = Subnet("echo", version=1)


@dataclass
class Ask:
    text: str


@dataclass
class Answer:
    text: str


@subnet.method(timeout=5.0)
async def echo(request: Ask) -> Answer:
    return Answer(request.text)


@echo.variant("lazy")
async def lazy(request: Ask) -> Answer:
    return Answer("")


class Echo(Validator):
    interval = 1.0
    sample = 16
    aggregator = Ema(0.2)

    async def task(self, round: Round) -> Task | None:
        return Task(echo, Ask("hi"), timeout=3.0)

    def score(self, round: Round, task: Task, results: list[Result]) -> dict[str, float]:
        return {r.hotkey: float(r.ok and r.reply.text == "hi") for r in results}
