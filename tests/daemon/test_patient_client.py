"""The control client of commands whose answer may take longer than a read of the state."""

from __future__ import annotations

import socket
from pathlib import Path

from yumad.daemon.control_client import REPLY_TIMEOUT
from yumad.daemon.patient_client import PatientClient


def test_reply_is_waited_for_as_long_as_the_call_may_take() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        client = PatientClient(ours, Path("home"))
        for patience, expected in ((0.0, REPLY_TIMEOUT), (100.0, 100.0)):
            client.patience = patience
            theirs.sendall(b'{"id": %d, "result": "late"}\n' % (1 if not patience else 2))
            assert client.call("axon.forward") == "late"
            assert ours.gettimeout() == expected
