"""A control client that waits for a reply as long as what it asks for may take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .control_client import ControlClient


class PatientClient(ControlClient):
    """Calls of other peers take what their authors allow, which may be more than a read of the state does."""

    patience: float = 0.0
    """Seconds for a reply, where that is more than usual."""

    @classmethod
    def waiting(cls, home: Path, seconds: float) -> PatientClient:
        """Reach the daemon of `home`. Raises CommandError (exit code 4) when none runs there."""
        client = cls.connect(home)
        assert isinstance(client, PatientClient)
        client.patience = seconds
        return client

    def _read(self, timeout: float | None) -> dict[str, Any]:
        return super()._read(None if timeout is None else max(timeout, self.patience))
