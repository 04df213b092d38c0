"""Subnets written for the SDK's version 10, on our calls (AXON R41): `import yumad.plugin.compat as bt`.

A synapse is request and reply in one, as it was; a forward function is attached to an axon; a dendrite calls many. The
rest of that world (wallets, subtensor, weights, sockets, threads, state files) is the peer's business now, and the
names that stood for it do nothing here. `port` makes a plugin of a miner's and a validator's class. What will not port
is listed by `yumad plugin scan FOLDER` (scan.py).
"""

from .network import Axon, AxonInfo, Dendrite, Metagraph, logging
from .neurons import BaseMinerNeuron, BaseValidatorNeuron, get_random_uids, port
from .synapse import Field, Synapse, TerminalInfo

axon = Axon
dendrite = Dendrite
metagraph = Metagraph

__all__ = [
    "Axon", "AxonInfo", "BaseMinerNeuron", "BaseValidatorNeuron", "Dendrite", "Field", "Metagraph", "Synapse",
    "TerminalInfo", "axon", "dendrite", "get_random_uids", "logging", "metagraph", "port",
]  # fmt: skip
