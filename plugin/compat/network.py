"""`axon`, `dendrite` and the metagraph of version 10, on our calls (AXON R41)."""

from __future__ import annotations

import contextvars
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np

from ..call import Call, Refusal
from ..method import DefinitionError, Method
from ..subnet import Subnet
from ..validator import Neuron, Round
from .synapse import Synapse, TerminalInfo

caller: Final[contextvars.ContextVar[Call]] = contextvars.ContextVar("caller")
"""Who calls the miner whose code runs."""

current_round: Final[contextvars.ContextVar[Round]] = contextvars.ContextVar("current_round")
"""Round of the validator whose code runs."""


@dataclass(frozen=True, slots=True)
class AxonInfo:
    """A miner that can be called. There is no address: peers know the way."""

    hotkey: str
    uid: int
    is_serving: bool = True


class Metagraph:
    """A validator's view of its subnet, by uid."""

    def __init__(self, neurons: Sequence[Neuron] = (), *, block: int = 0, netuid: int = 0) -> None:
        self.block, self.netuid = block, netuid
        self.neurons = sorted(neurons, key=lambda neuron: neuron.uid)
        self.hotkeys = [neuron.hotkey for neuron in self.neurons]
        self.axons = [AxonInfo(neuron.hotkey, neuron.uid, neuron.reachable) for neuron in self.neurons]
        self.uids = np.array([neuron.uid for neuron in self.neurons], dtype=np.int64)
        self.S = np.array([neuron.stake / 1e9 for neuron in self.neurons], dtype=np.float32)
        self.I = np.array([neuron.incentive for neuron in self.neurons], dtype=np.float32)
        self.D = np.array([neuron.dividends for neuron in self.neurons], dtype=np.float32)
        self.validator_permit = np.array([neuron.permit for neuron in self.neurons], dtype=np.bool_)
        self.total_stake = self.S

    @property
    def n(self) -> int:
        """Neurons."""
        return len(self.neurons)

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: it is new in each round."""


class CallerMetagraph:
    """A miner's view, which is of its caller: what blacklist and priority functions ask is who calls."""

    class _Hotkeys:
        def __contains__(self, hotkey: object) -> bool:
            return hotkey == caller.get().caller and caller.get().uid is not None

        def index(self, hotkey: str) -> int:
            """Raises ValueError, as a list does."""
            if hotkey not in self:
                raise ValueError(f"{hotkey} is not registered")
            uid = caller.get().uid
            assert uid is not None
            return uid

    class _Column:
        def __init__(self, of: Callable[[Call], Any]) -> None:
            self._of = of

        def __getitem__(self, uid: int) -> Any:
            if uid != caller.get().uid:
                raise DefinitionError(f"a miner sees its caller's row only, not uid {uid}", remedy="use Call")
            return self._of(caller.get())

    def __init__(self) -> None:
        self.hotkeys = self._Hotkeys()
        self.S = self.total_stake = self._Column(lambda call: call.stake / 1e9)
        self.validator_permit = self._Column(lambda call: call.permit)

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Nothing."""


class Axon:
    """Where forward functions are attached. Each becomes a method of the subnet, named after its synapse."""

    def __init__(self, subnet: Subnet | None = None, **ignored: Any) -> None:
        self.subnet = subnet or Subnet("axon")

    def attach(
        self,
        forward_fn: Callable[..., Any],
        blacklist_fn: Callable[..., Any] | None = None,
        priority_fn: Callable[..., Any] | None = None,
        verify_fn: Callable[..., Any] | None = None,
        *,
        timeout: float = 12.0,
    ) -> Self:
        """Serve it. `priority_fn` is taken and not called: the peer's queue goes by stake. Raises DefinitionError."""
        if verify_fn is not None:
            raise DefinitionError("verify_fn: signatures are verified by the peer", remedy="leave it out")
        attach_method(self.subnet, synapse_type(forward_fn), lambda: forward_fn, lambda: blacklist_fn, timeout)
        return self

    def serve(self, *args: Any, **kwargs: Any) -> Self:
        """Nothing: the peer makes the miner known."""
        return self

    def start(self) -> Self:
        """Nothing: the peer serves."""
        return self

    def stop(self) -> Self:
        """Nothing."""
        return self


def synapse_type(forward: Callable[..., Any]) -> type[Synapse]:
    """Of a forward function's first parameter. Raises DefinitionError."""
    hints = inspect.get_annotations(inspect.unwrap(forward), eval_str=True)
    hints.pop("return", None)
    for hint in hints.values():
        if isinstance(hint, type) and issubclass(hint, Synapse):
            return hint
    raise DefinitionError(f"{forward!r} names no Synapse", remedy="annotate its parameter with the synapse class")


def attach_method(
    subnet: Subnet,
    kind: type[Synapse],
    forward: Callable[[], Callable[..., Any]],
    blacklist: Callable[[], Callable[..., Any] | None],
    timeout: float,
) -> Method:
    """One method of the subnet; the functions are asked for at each call, when their object exists."""
    from ...protocols.axon.policy import Policy

    async def handler(request: Any, call: Call) -> Any:
        token = caller.set(call)
        try:
            synapse = kind.from_message(request)
            synapse.dendrite = TerminalInfo(call.caller, uid=call.uid)
            synapse.axon = TerminalInfo(call.hotkey)
            synapse.timeout = call.seconds_left
            refuse = blacklist()
            if refuse is not None:
                listed, reason = await _maybe(refuse(synapse))
                if listed:
                    raise Refusal(str(reason))
            return (await _maybe(forward()(synapse))).to_message()
        finally:
            caller.reset(token)

    handler.__annotations__ = {"request": kind.message, "call": Call, "return": kind.message}
    handler.__name__ = kind.method_name()
    made = subnet.method(timeout=timeout, policy=Policy(require_permit=False))(handler)
    kind.method = made  # type: ignore[attr-defined]
    return made


async def _maybe(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


class Dendrite:
    """Calls miners inside a validator's round."""

    def __init__(self, **ignored: Any) -> None:
        pass

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As `forward`."""
        return await self.forward(*args, **kwargs)

    async def forward(
        self,
        axons: Sequence[AxonInfo] | AxonInfo,
        synapse: Synapse,
        timeout: float = 12.0,
        deserialize: bool = True,
        run_async: bool = True,
        streaming: bool = False,
    ) -> Any:
        """One answer per axon, in order; a call that failed gives the synapse as it was, `is_failure`.

        One axon gives one answer. Raises DefinitionError for what is not there any more.
        """
        if streaming:
            raise DefinitionError(
                "streaming synapses do not port", remedy="write a method that yields (docs/plugins.md)"
            )
        single = isinstance(axons, AxonInfo)
        targets = [axons] if isinstance(axons, AxonInfo) else list(axons)
        method: Method = getattr(type(synapse), "method", None) or _no_method(synapse)
        request = synapse.to_message()
        round = current_round.get()
        results = await round.call_many({axon.hotkey: request for axon in targets}, method, timeout)
        answers = [
            synapse.answered(result.status, result.text, result.hotkey, result.uid, result.latency.total, result.reply)
            for result in results
        ]
        found = {result.hotkey: answer for result, answer in zip(results, answers, strict=True)}
        given = [found[axon.hotkey] for axon in targets]
        shown = [answer.deserialize() for answer in given] if deserialize else given
        return shown[0] if single else shown


def _no_method(synapse: Synapse) -> Method:
    raise DefinitionError(
        f"no miner serves {type(synapse).__name__}", remedy="attach a forward function for it, or give it to port()"
    )


class _Logging:
    """`bt.logging`: lines on standard error, which the peer keeps."""

    def __getattr__(self, level: str) -> Callable[..., None]:
        def write(*parts: Any, **ignored: Any) -> None:
            print(f"{level}:", *parts, file=sys.stderr)

        return write


logging: Final = _Logging()
