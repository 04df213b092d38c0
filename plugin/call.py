"""What a handler is told of a call beside the request (AXON R20)."""

from __future__ import annotations

import contextvars
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from ..protocols.axon.status import Status


@dataclass(frozen=True, slots=True)
class Call:
    """One call that is being answered. A handler that names a parameter of this type is given it."""

    caller: str
    """Hotkey, ss58."""
    uid: int | None
    """The caller's uid in the subnet; None for a caller that is not registered."""
    stake: int
    """Its stake weight in rao."""
    permit: bool
    """Whether it holds a validator permit."""
    netuid: int
    hotkey: str
    """Own hotkey, ss58."""
    request_id: bytes
    deadline: float
    """On trio's clock: when the handler will be cancelled."""
    store: Path
    """Folder of this plugin and hotkey, kept across restarts."""

    @property
    def seconds_left(self) -> float:
        """Until the deadline; only inside an async handler."""
        return max(0.0, self.deadline - trio.current_time())


class Refusal(Exception):
    """A handler raises it to end a call with DENIED or BUSY in place of HANDLER_ERROR."""

    def __init__(self, text: str, *, status: Status = Status.DENIED, retry_after_ms: int = 0) -> None:
        if status not in (Status.DENIED, Status.BUSY):
            raise ValueError(f"a handler may refuse with DENIED or BUSY, not {status.name}")
        super().__init__(text)
        self.status, self.retry_after_ms = status, retry_after_ms


running_store: Final[contextvars.ContextVar[Path]] = contextvars.ContextVar("running_store")
"""Folder of the neuron whose code runs: in a simulation many neurons share one process."""
