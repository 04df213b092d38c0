"""The names that `from yumad import …` gives; imported when the first of them is asked for."""

from __future__ import annotations

from ..protocols.axon.aggregators import Aggregator, Ema, WindowMean, WinRate
from ..protocols.axon.blob_transfer import BlobUnavailable
from ..protocols.axon.interfaces import Latency, StreamAborted
from ..protocols.axon.policy import Policy, Quota
from ..protocols.axon.status import Reached, Status
from .call import Call, Refusal
from .method import DefinitionError, Method
from .seal import Sealed
from .subnet import Subnet
from .validator import Neuron, Result, Round, Stream, Task, Validator

__all__ = [
    "Subnet", "Method", "Call", "Refusal", "Policy", "Quota", "Sealed",
    "Validator", "Round", "Task", "Result", "Neuron", "Stream", "Latency", "Status", "Reached", "StreamAborted",
    "Aggregator", "Ema", "WindowMean", "WinRate", "DefinitionError", "BlobUnavailable",
]  # fmt: skip
