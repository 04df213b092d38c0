"""What the commands that ask the daemon share: the connection, and how values of its documents are written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..control_client import ControlClient


def open_client(home: Path) -> ControlClient:
    """A connection to the daemon of `home`. Raises CommandError (exit code 4) when none runs."""
    from ..control_client import ControlClient

    return ControlClient.connect(home)


def event_line(event: dict[str, Any]) -> str:
    """An event of a document in one line."""
    return " ".join([event["event"], *(f"{key}={value}" for key, value in event.items() if key != "event")])


def plain(value: Any) -> Any:
    """A JSON value as a cell: lists by spaces, a mark for none."""
    if isinstance(value, list):
        return " ".join(str(plain(item)) for item in value)
    return "-" if value is None else value
