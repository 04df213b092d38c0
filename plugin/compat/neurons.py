"""The template's base neurons, and `port`, which makes a plugin of them (AXON R41)."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..method import DefinitionError
from ..subnet import Subnet
from ..validator import Result, Round, Scores, Task, Validator
from .network import Axon, CallerMetagraph, Dendrite, Metagraph, attach_method, current_round, synapse_type


def _settings() -> SimpleNamespace:
    """What template code reads of `self.config`."""
    return SimpleNamespace(
        netuid=0,
        mock=False,
        neuron=SimpleNamespace(
            sample_size=50, timeout=12.0, epoch_length=100, moving_average_alpha=0.1, vpermit_tao_limit=4096
        ),
        blacklist=SimpleNamespace(allow_non_registered=False, force_validator_permit=True),
    )


class _Neuron:
    """What both have."""

    def __init__(self, config: Any = None) -> None:
        self.config = config or _settings()
        self.step = 0

    def load_state(self) -> None:
        """Nothing: scores are kept by the peer, keyed by hotkey."""

    def save_state(self) -> None:
        """Nothing."""

    def sync(self) -> None:
        """Nothing: the peer follows the chain."""


class BaseMinerNeuron(_Neuron):
    """A miner: override `forward`, and `blacklist` if callers are to be refused."""

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.metagraph = CallerMetagraph()
        self.axon = Axon()


class BaseValidatorNeuron(_Neuron):
    """A validator: override `forward`, and give its judgement to `update_scores`."""

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.metagraph = Metagraph()
        self.dendrite = Dendrite()
        self.uid = -1
        self.given: dict[int, float] = {}
        """Rewards of this round, by uid."""

    def update_scores(self, rewards: Iterable[float], uids: Iterable[int]) -> None:
        """Rewards of 0..1 for these uids; averaged and turned to weights by the peer."""
        values = np.nan_to_num(np.asarray(list(rewards), dtype=np.float64), nan=0.0)
        self.given.update(zip((int(uid) for uid in uids), values.tolist(), strict=True))


def get_random_uids(neuron: BaseValidatorNeuron, k: int, exclude: Iterable[int] = ()) -> np.ndarray[Any, Any]:
    """At most k uids that serve, without the own one and those excluded."""
    left_out = {neuron.uid, *exclude}
    serving = [axon.uid for axon in neuron.metagraph.axons if axon.is_serving and axon.uid not in left_out]
    rng = current_round.get().rng
    return np.array(sorted(rng.sample(serving, min(k, len(serving)))), dtype=np.int64)


def port(
    name: str,
    *,
    miner: type[BaseMinerNeuron],
    validator: type[BaseValidatorNeuron] | None = None,
    interval: float = 60.0,
    forwards: Mapping[str, str] | None = None,
) -> tuple[Subnet, type[Validator] | None]:
    """A plugin's subnet and validator: `subnet, Checker = port("name", miner=Miner, validator=Validator)`.

    `forwards` maps further forward methods of the miner to their blacklist methods, beside `forward` and `blacklist`.
    Raises DefinitionError.
    """
    subnet = Subnet(name)
    made: list[BaseMinerNeuron] = []

    def neuron() -> BaseMinerNeuron:
        if not made:
            made.append(miner())
        return made[0]

    methods = []
    for forward, blacklist in {"forward": "blacklist", **(forwards or {})}.items():
        function = getattr(miner, forward, None)
        if function is None:
            raise DefinitionError(f"{miner.__name__} has no {forward}", remedy="write it, or name it in forwards")
        methods.append(
            attach_method(
                subnet, synapse_type(function), _getter(neuron, forward), _getter(neuron, blacklist), timeout=12.0
            )
        )

    def make() -> None:
        neuron()

    subnet.on_start(make)
    if validator is None:
        return subnet, None
    return subnet, _ported(validator, methods[0], interval)


def _getter(neuron: Callable[[], BaseMinerNeuron], name: str) -> Callable[[], Any]:
    return lambda: getattr(neuron(), name, None)


def _ported(kind: type[BaseValidatorNeuron], method: Any, seconds: float) -> type[Validator]:
    class Ported(Validator):
        interval = seconds

        def __init__(self) -> None:
            self.neuron = kind()

        async def task(self, round: Round) -> Task:
            """The whole of the old forward; what it judged goes on to `score`."""
            own = self.neuron
            own.metagraph = Metagraph(round.neurons, block=round.block, netuid=round.netuid)
            own.uid = next((neuron.uid for neuron in round.neurons if neuron.hotkey == round.hotkey), -1)
            own.given = {}
            token = current_round.set(round)
            try:
                done: Awaitable[None] | None = own.forward()  # type: ignore[attr-defined]
                if inspect.isawaitable(done):
                    await done
            finally:
                current_round.reset(token)
            own.step += 1
            return Task(method, targets=(), memo=dict(own.given))

        def score(self, round: Round, task: Task, results: list[Result]) -> Scores:
            """By hotkey: a uid may change hands."""
            hotkeys = {neuron.uid: neuron.hotkey for neuron in round.neurons}
            return {hotkeys[uid]: value for uid, value in task.memo.items() if uid in hotkeys}

    Ported.__name__ = Ported.__qualname__ = kind.__name__
    return Ported
