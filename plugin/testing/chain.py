"""A subnet's metagraph without a chain behind it (AXON R38 "fake chain"). Blocks pass when a test says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ...consensus.dev_accounts import dev_keypair
from ...consensus.ss58 import encode_address
from ...protocols.axon.codec_offer import own_codecs
from ...protocols.axon.interfaces import Standing
from ..host_interface import Metagraph

STRANGER: Final = Standing(None, False, 0)


@dataclass(slots=True)
class FakeNeuron:
    """One row; change what a test needs."""

    uid: int
    hotkey: str
    stake: int = 0
    permit: bool = False
    incentive: float = 0.0
    dividends: float = 0.0
    reachable: bool = False


class FakeChain:
    """One subnet."""

    def __init__(self, netuid: int = 1, tempo: int = 360) -> None:
        self.netuid, self.tempo, self.block = netuid, tempo, 1
        self.neurons: dict[str, FakeNeuron] = {}

    def __iter__(self) -> Iterator[FakeNeuron]:
        return iter(sorted(self.neurons.values(), key=lambda neuron: neuron.uid))

    def register(self, hotkey: str, *, stake: int = 0, permit: bool = False) -> FakeNeuron:
        """A new neuron with the next uid."""
        neuron = FakeNeuron(len(self.neurons), hotkey, stake, permit)
        self.neurons[hotkey] = neuron
        return neuron

    def replace(self, uid: int, hotkey: str) -> FakeNeuron:
        """Somebody else registers in the place of a uid."""
        old = next(neuron for neuron in self if neuron.uid == uid)
        del self.neurons[old.hotkey]
        self.neurons[hotkey] = neuron = FakeNeuron(uid, hotkey)
        return neuron

    def standing(self, hotkey: str) -> Standing:
        """What admission asks of a caller."""
        neuron = self.neurons.get(hotkey)
        return STRANGER if neuron is None else Standing(neuron.uid, neuron.permit, neuron.stake)

    def metagraph(self, hotkey: str) -> Metagraph:
        """As a peer gives it to a plugin."""
        rows = [
            {
                "uid": neuron.uid, "hotkey": neuron.hotkey, "stake": neuron.stake, "permit": neuron.permit,
                "incentive": neuron.incentive, "dividends": neuron.dividends, "reachable": neuron.reachable,
                "codecs": list(own_codecs()),
            }
            for neuron in self
        ]  # fmt: skip
        return {"block": self.block, "netuid": self.netuid, "hotkey": hotkey, "tempo": self.tempo, "neurons": rows}


def dev_hotkey(name: str) -> str:
    """ss58 of the development account `name`."""
    return encode_address(dev_keypair(name).public_key)
