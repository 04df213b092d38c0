"""What a handler is told of a call beside the request (AXON R20)."""

from __future__ import annotations

import contextvars
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

from ..protocols.axon.status import Status
from .blobs import FETCH_SECONDS, MAX_SIZE, Blobs


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
    blobs: Blobs | None = field(default=None, repr=False, compare=False)
    """None in a worker process (`cpu=True`), and for a call made by hand."""

    @property
    def seconds_left(self) -> float:
        """Until the deadline; only inside an async handler."""
        return max(0.0, self.deadline - trio.current_time())

    async def put_blob(self, content: Path | str | bytes, *, to: Sequence[str] | None = None) -> bytes:
        """Offer a file or bytes of any size for an hour; its hash belongs into the answer.

        `to`: who may fetch it, by hotkey; None for every hotkey of the subnet. Raises YumadError when the peer has no
        room.
        """
        return await self._blobs.put(content, to)

    async def fetch_blob(
        self, blob_hash: bytes, hotkey: str, *, max_size: int = MAX_SIZE, timeout: float = FETCH_SECONDS
    ) -> Path:
        """The file of a blob that `hotkey` offers, in the folder `store`/blobs; it is not to be written to.

        At most `max_size` bytes, within `timeout` seconds. Raises BlobUnavailable; what came is kept for the next try.
        """
        return await self._blobs.fetch(blob_hash, hotkey, max_size, timeout)

    @property
    def _blobs(self) -> Blobs:
        if self.blobs is None:
            raise RuntimeError("large content cannot be put or fetched here: only in a handler without cpu=True")
        return self.blobs


class Refusal(Exception):
    """A handler raises it to end a call with DENIED or BUSY in place of HANDLER_ERROR."""

    def __init__(self, text: str, *, status: Status = Status.DENIED, retry_after_ms: int = 0) -> None:
        if status not in (Status.DENIED, Status.BUSY):
            raise ValueError(f"a handler may refuse with DENIED or BUSY, not {status.name}")
        super().__init__(text)
        self.status, self.retry_after_ms = status, retry_after_ms


running_store: Final[contextvars.ContextVar[Path]] = contextvars.ContextVar("running_store")
"""Folder of the neuron whose code runs: in a simulation many neurons share one process."""
