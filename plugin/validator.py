"""What a validator's author writes: `task` and `score`, and what they are given (AXON R26, R28).

class Echo(Validator):
    sample = 16
    async def task(self, round: Round) -> Task | None: ...
    def score(self, round: Round, task: Task, results: list[Result]) -> dict[str, float]: ...
"""

from __future__ import annotations

import inspect
import random
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from ..protocols.axon.aggregators import Aggregator, Ema
from ..protocols.axon.interfaces import Latency
from ..protocols.axon.status import Reached, Status
from .blobs import FETCH_SECONDS, MAX_SIZE, Blobs
from .method import DefinitionError, Method


@dataclass(frozen=True, slots=True)
class Neuron:
    """One row of the metagraph."""

    uid: int
    hotkey: str
    """ss58."""
    stake: int = 0
    """rao."""
    incentive: float = 0.0
    dividends: float = 0.0
    permit: bool = False
    reachable: bool = True
    """False when it is known to serve nothing."""


@dataclass(frozen=True, slots=True)
class Result:
    """How one miner's call ended. A failure is a result, never an exception."""

    uid: int | None
    hotkey: str
    """ss58."""
    status: Status
    reply: Any = None
    """The answer as the method's type; None unless `ok`."""
    text: str = ""
    """Why it is not ok."""
    latency: Latency = Latency()
    sent_at: float = 0.0
    """trio time; 0 when the request was never sent."""
    receipt: bytes = b""
    """Evidence that others can check (R5); empty where the miner signed nothing."""
    retry_after_ms: int = 0

    @property
    def ok(self) -> bool:
        """The miner answered, and the answer is of the method's type."""
        return self.status is Status.OK

    @property
    def reached_handler(self) -> Reached:
        """Whether the miner's code saw the call."""
        return self.status.reached_handler


@dataclass(frozen=True, slots=True)
class Task:
    """What a round asks of its miners."""

    method: Method
    request: Any = None
    """One request for all, or a mapping of hotkey to request."""
    timeout: float | None = None
    """Seconds for each call; None: the method's."""
    targets: Sequence[str] | None = None
    """Hotkeys; None: the keys of a mapping of requests, or all the round's miners."""
    memo: Any = None
    """Anything `score` wants to know, such as the expected answer; it stays here."""

    def __post_init__(self) -> None:
        if not isinstance(self.method, Method):
            raise DefinitionError(
                f"Task(method={self.method!r})", remedy="give the function that is decorated with @subnet.method"
            )
        if self.method.served.stream_in or self.method.served.stream_out:
            raise DefinitionError(f"{self.method.name} streams", remedy="use round.stream inside task() or score()")

    def requests(self, miners: Sequence[str]) -> dict[str, Any]:
        """Hotkey -> request."""
        single = self.method.signature.request.type
        if isinstance(self.request, Mapping) and single is not dict and not _is_mapping(single):
            chosen = self.request if self.targets is None else {k: self.request[k] for k in self.targets}
            return dict(chosen)
        return dict.fromkeys(miners if self.targets is None else self.targets, self.request)


def _is_mapping(hint: Any) -> bool:
    origin = getattr(hint, "__origin__", None)
    return isinstance(origin, type) and issubclass(origin, Mapping)


class Stream(Protocol):
    """A streaming call, typed; from `round.stream`, inside `async with`."""

    async def send(self, message: Any) -> None: ...

    async def end(self) -> None: ...

    def __aiter__(self) -> AsyncIterator[Any]: ...

    async def result(self) -> Result: ...


class Caller(Protocol):
    """How a round's calls are made (calling.py)."""

    async def call(self, hotkey: str, method: Method, request: Any, timeout: float | None) -> Result: ...

    async def call_many(self, requests: Mapping[str, Any], method: Method, timeout: float | None) -> list[Result]: ...

    def stream(self, hotkey: str, method: Method, request: Any, timeout: float | None) -> Any: ...

    async def query(self, read: str, params: Sequence[Any]) -> Any: ...

    @property
    def blobs(self) -> Blobs: ...


@dataclass(frozen=True, slots=True)
class Round:
    """One round of validation."""

    number: int
    """From 1; goes on after a restart."""
    block: int
    netuid: int
    hotkey: str
    """Own, ss58."""
    miners: list[Neuron]
    """Those sampled for this round; `uid` order."""
    rng: random.Random
    """The same in every run with the same seed: use it for everything random. Hash what miners get to see of it: from
    raw draws its state, and so every later challenge, can be computed."""
    store: Path
    """The plugin's own folder, kept across restarts."""
    neurons: list[Neuron] = field(default_factory=list, repr=False)
    """The whole metagraph, own row included."""
    caller: Caller | None = field(default=None, repr=False)

    async def call(self, hotkey: str, method: Method, request: Any = None, timeout: float | None = None) -> Result:
        """Call one miner; `timeout` in seconds, the method's when None."""
        return await self._calls.call(hotkey, method, request, timeout)

    async def call_many(
        self, requests: Mapping[str, Any], method: Method, timeout: float | None = None
    ) -> list[Result]:
        """Call all of them together; one result each, in the mapping's order."""
        return await self._calls.call_many(requests, method, timeout)

    def stream(self, hotkey: str, method: Method, request: Any = None, timeout: float | None = None) -> Any:
        """`async with round.stream(…) as stream:` then send messages, iterate over the reply's, ask for `result()`.

        Raises StreamAborted where it is opened or read when the miner refuses or breaks off.
        """
        return self._calls.stream(hotkey, method, request, timeout)

    async def query(self, read: str, *params: Any) -> Any:
        """Answer of one of the peer's public reads of the chain, by its name in `yumad query list`."""
        return await self._calls.query(read, params)

    async def put_blob(self, content: Path | str | bytes, *, to: Sequence[str] | None = None) -> bytes:
        """Offer a file or bytes of any size for an hour; give the hash to those who shall fetch it.

        `to`: their hotkeys; None for every hotkey of the subnet. Raises YumadError when the peer has no room.
        """
        return await self._calls.blobs.put(content, to)

    async def fetch_blob(
        self, blob_hash: bytes, hotkey: str, *, max_size: int = MAX_SIZE, timeout: float = FETCH_SECONDS
    ) -> Path:
        """The file of a blob that `hotkey` offers, in the folder `store`/blobs; it is not to be written to.

        At most `max_size` bytes, within `timeout` seconds. Raises BlobUnavailable; what came is kept for the next try.
        """
        return await self._calls.blobs.fetch(blob_hash, hotkey, max_size, timeout)

    @property
    def _calls(self) -> Caller:
        if self.caller is None:
            raise RuntimeError("this Round was made by hand, and can make no calls")
        return self.caller


Scores = Mapping[str, float]
"""ss58 hotkey -> 0..1."""


class Validator(ABC):
    """Base of a plugin's validator. All else is done around it: sampling, deadlines, averages, weights, restarts."""

    interval: ClassVar[float] = 60.0
    """Seconds from the start of one round to the start of the next."""
    blocks: ClassVar[int] = 0
    """When not 0, a round each so many blocks, in place of `interval`."""
    sample: ClassVar[int | None] = None
    """Miners per round; None: all."""
    aggregator: ClassVar[Aggregator] = Ema(0.1)
    """How scores of rounds become a miner's weight."""
    round_timeout: ClassVar[float] = 600.0
    """Seconds after which a round that does not end is given up."""
    absent: ClassVar[float | None] = 0.0
    """Score of a miner of the round that `score` says nothing of, and of unreachable ones; None: no score at all."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        where = cls.__name__
        if not isinstance(cls.aggregator, Aggregator):
            raise DefinitionError(
                f"{where}.aggregator is {cls.aggregator!r}", remedy="give an object, such as Ema(0.1)"
            )
        if type(cls.interval) not in (int, float) or not cls.interval > 0:
            raise DefinitionError(f"{where}.interval is {cls.interval!r}", remedy="give seconds, above 0")
        if not 0 < cls.round_timeout < float("inf"):
            raise DefinitionError(f"{where}.round_timeout is {cls.round_timeout!r}", remedy="give seconds, above 0")
        if type(cls.blocks) is not int or cls.blocks < 0:
            raise DefinitionError(f"{where}.blocks is {cls.blocks!r}", remedy="give a number of blocks, or 0")
        if cls.sample is not None and (type(cls.sample) is not int or cls.sample < 1):
            raise DefinitionError(f"{where}.sample is {cls.sample!r}", remedy="give a number of miners, or None")
        if cls.absent is not None and not 0.0 <= cls.absent <= 1.0:
            raise DefinitionError(f"{where}.absent is {cls.absent!r}", remedy="give a score from 0 to 1, or None")

    @classmethod
    def abstract(cls) -> bool:
        """Whether `task` or `score` is still to be written."""
        return inspect.isabstract(cls)

    def start(self) -> Awaitable[None] | None:
        """Called once before the first round."""
        return None

    def choose(self, round: Round) -> list[Neuron]:
        """Miners of a round, out of `round.miners` with all that are reachable; `sample` of them at random."""
        if self.sample is None or len(round.miners) <= self.sample:
            return round.miners
        return sorted(round.rng.sample(round.miners, self.sample), key=lambda neuron: neuron.uid)

    @abstractmethod
    def task(self, round: Round) -> Task | Awaitable[Task | None] | None:
        """What to ask in this round; None leaves it out."""

    @abstractmethod
    def score(self, round: Round, task: Task, results: list[Result]) -> Scores | Awaitable[Scores]:
        """Hotkey -> 0..1 for what came back. All results are there, also of calls that failed."""
